/** The panels of the operator's page that are tables: running streams, keys, users, limits, last errors. */

import { ask } from "./api.js";
import { action, badge, moment, span, table, whole } from "./table.js";

const $ = (id) => document.getElementById(id);
const KINDS = { healthy: "good", cooling: "waiting", parked: "waiting", disabled: "bad" };
const WORST = ["disabled", "parked", "cooling", "healthy"];

/** `changed` is called after something was done that the panels should show. */
export function showStreams({ data, complete }, changed) {
  $("streams-note").textContent = complete ? "on all workers" : "of one worker only: Redis is away";
  const columns = [
    { title: "User", value: (one) => one.user_name },
    { title: "Model", value: (one) => one.model, kind: "code" },
    { title: "Endpoint", value: (one) => one.endpoint, kind: "code" },
    { title: "Stream", value: (one) => one.id, kind: "code" },
    { title: "Runs for", value: (one) => span(one.age), kind: "number" },
    { title: "", kind: "tools", value: (one) => action("End", `End the stream of ${one.user_name}`, async () => {
      await ask("DELETE", `admin/streams/${one.id}`).catch(unlessGone);
      await changed();
    }) },
  ];
  $("streams").replaceChildren(table(columns, data, "Nothing runs just now."));
}

export function showKeys({ data, reachable }, changed) {
  $("keys-note").textContent = reachable ? "" : "Redis is away: the states are not known now";
  const set = (one, disabled) => async () => {
    await ask("PATCH", `admin/keys/${one.id}`, { disabled });
    await changed();
  };
  const probe = (one) => async () => {
    const { fault } = await ask("POST", `admin/keys/${one.id}/probe`);
    await changed();
    $("announcer").textContent = $("keys-note").textContent = `…${one.last4}: ${fault ?? "works"}`;
  };
  const columns = [
    { title: "Upstream", value: (one) => one.upstream },
    { title: "Key", value: (one) => `…${one.last4}`, kind: "code" },
    { title: "State", value: (one) => badge(one.state, KINDS[one.state]) },
    { title: "Why", value: whyOf },
    { title: "Calls", value: (one) => whole(one.requests), kind: "number" },
    { title: "Errors", value: (one) => whole(one.errors), kind: "number" },
    { title: "Last error", value: (one) => one.last_error, kind: "code" },
    { title: "", kind: "tools", value: (one) => {
      const cell = document.createDocumentFragment();
      const disabled = one.state === "disabled";
      cell.append(action("Probe", `Probe the key …${one.last4}`, probe(one)), " ");
      cell.append(action(disabled ? "Enable" : "Disable", `${disabled ? "Enable" : "Disable"} the key …${one.last4}`, set(one, !disabled)));
      return cell;
    } },
  ];
  const worstFirst = data.toSorted((one, other) => WORST.indexOf(one.state) - WORST.indexOf(other.state));
  $("keys").replaceChildren(table(columns, worstFirst, "There are no keys: the demo model answers."));
}

export function showUsers({ data, has_more: more }, changed) {
  const columns = [
    { title: "Name", value: (one) => one.name },
    { title: "Role", value: (one) => (one.role === "admin" ? badge("admin", "good") : "user") },
    { title: "Since", value: (one) => moment(one.created).split(",")[0], kind: "number" },
    { title: "", kind: "tools", value: (one) => {
      const verb = one.disabled ? "Enable" : "Disable";
      return action(verb, `${verb} ${one.name}`, async () => {
        await ask("PATCH", `admin/users/${one.id}`, { disabled: !one.disabled }).catch(changed);
        await changed();
      });
    } },
  ];
  $("users").replaceChildren(table(columns, data, "There are no accounts."), more ? "More: streamproxy user list" : "");
}

export function showLimits({ requests, tokens, streams, timezone, on_redis_down: down }) {
  const rows = [
    ["Questions", requests || "any number"],
    ["Tokens", tokens || "any number"],
    ["Answers at once", streams || "any number"],
    ["Days begin in", timezone],
    ["While Redis is away", { local: "each worker counts its share", closed: "questions are refused", open: "nothing is counted" }[down]],
  ];
  const columns = [
    { title: "Limit", value: ([name]) => name },
    { title: "In force", value: ([, value]) => String(value), kind: "code" },
  ];
  $("limits").replaceChildren(table(columns, rows, ""));
}

export function showFailures({ data }) {
  const columns = [
    { title: "When", value: (one) => moment(one.created), kind: "number" },
    { title: "Error", value: (one) => badge(one.error_code, "bad") },
    { title: "Model", value: (one) => one.model, kind: "code" },
    { title: "Upstream", value: (one) => (one.key_last4 ? `${one.upstream} …${one.key_last4}` : one.upstream) },
    { title: "User", value: (one) => one.user_name ?? "guest" },
    { title: "Attempts", value: (one) => one.attempts, kind: "number" },
    { title: "Request", value: (one) => one.request_id, kind: "code" },
  ];
  $("failures").replaceChildren(table(columns, data, "No errors."));
}

function whyOf({ reason, message, until }) {
  const ends = until ? ` until ${moment(until)}` : "";
  return `${message || reason}${reason || message ? ends : ""}`;
}

function unlessGone(fault) {
  if (fault.status !== 404) throw fault;
}
