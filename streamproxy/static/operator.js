/** The operator's page: asks the admin API again and again, and shows what it says. */

import * as api from "./api.js";
import { showFailures, showKeys, showLimits, showStreams, showUsers } from "./panels.js";
import { money, short, whole } from "./table.js";
import { plainly } from "./texts.js";
import { switchTheme } from "./themes.js";
import { lastDays, Usage } from "./usage.js";
import { make } from "./view.js";

const $ = (id) => document.getElementById(id);
const SOON_MS = 3000;
const LATER_MS = 30_000;
// As many rows of usage as are worth adding up in a page: days times users times models.
const MOST_PAGES = 20;

const usage = new Usage();
const seen = { streams: 0, keys: [], failures: 0 };
let timers = [];

/** What changes every moment. */
async function lookOften() {
  const [streams, keys] = await Promise.all([get("streams?limit=100"), get("keys?limit=500")]);
  seen.streams = streams.data.length;
  seen.keys = keys.data;
  showStreams(streams, () => guarded(lookOften));
  showKeys(keys, () => guarded(lookOften));
  showTiles();
}

async function lookSeldom() {
  const [failures, users, limits, rows] = await Promise.all([
    get("failures?limit=20"),
    get("users?limit=100"),
    get("limits"),
    usageRows(),
  ]);
  seen.failures = failures.data.length;
  seen.moreFailures = failures.has_more;
  showFailures(failures);
  showUsers(users, () => guarded(lookSeldom));
  showLimits(limits);
  usage.show(rows);
  showTiles();
}

async function usageRows() {
  const rows = [];
  for (let after = "", pages = 0; after !== null && pages < MOST_PAGES; pages += 1) {
    const page = await get(`usage?limit=500${after && `&after=${encodeURIComponent(after)}`}`);
    rows.push(...page.data);
    after = page.has_more ? page.last_id : null;
  }
  return rows;
}

function showTiles() {
  const healthy = seen.keys.filter(({ state }) => state === "healthy").length;
  const today = lastDays().at(-1);
  const tiles = [
    ["running now", whole(seen.streams)],
    ["keys healthy", `${healthy} of ${seen.keys.length}`, seen.keys.length > 0 && healthy === 0],
    ["streams today", short(usage.total("streams", ({ day }) => day === today))],
    ["tokens in 30 days", short(usage.total("tokens"))],
    ["cost in 30 days", money(usage.total("cost"))],
    ["errors in 7 days", `${seen.failures}${seen.moreFailures ? "+" : ""}`, false],
  ];
  const items = tiles.map(([name, value, bad]) =>
    make("div", [make("dt", [name]), make("dd", [value])], bad ? { class: "bad" } : {}),
  );
  $("tiles").replaceChildren(...items);
  $("updated").textContent = `as of ${new Date().toLocaleTimeString()}`;
}

function get(path) {
  return api.ask("GET", `admin/${path}`);
}

/** Look, and say plainly when that fails; whoever may not look is asked to sign in. */
async function guarded(look) {
  try {
    await look();
    $("trouble").hidden = true;
  } catch (fault) {
    if ([401, 403].includes(fault.status)) askWho(fault.status === 403 ? "This account is no admin." : "");
    else {
      $("trouble").hidden = false;
      $("trouble").textContent = plainly(fault);
    }
  }
}

function keepLooking(look, pause) {
  const again = async () => {
    if (!document.hidden) await guarded(look);
    timers.push(setTimeout(again, pause));
  };
  return again();
}

async function begin() {
  const me = await api.me().catch(() => null);
  if (me?.role !== "admin") {
    askWho(me && me.role !== "guest" ? "This account is no admin." : "");
    return;
  }
  document.body.classList.remove("stranger");
  $("sign-in").hidden = true;
  await Promise.all([keepLooking(lookOften, SOON_MS), keepLooking(lookSeldom, LATER_MS)]);
}

function askWho(why) {
  for (const timer of timers) clearTimeout(timer);
  timers = [];
  document.body.classList.add("stranger");
  $("sign-in").hidden = false;
  $("sign-in-fault").textContent = why;
  $("name").focus();
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const token = $("token").value.trim();
    if (token) api.token.set(token);
    else await api.signIn($("name").value.trim(), $("password").value);
  } catch (fault) {
    $("sign-in-fault").textContent = plainly(fault);
    return;
  }
  $("password").value = $("token").value = "";
  await begin();
});
$("sign-out").addEventListener("click", async () => {
  const holder = api.token.get() !== null;
  api.token.forget();
  if (!holder) await api.signOut().catch(() => null);
  askWho("");
});
$("theme").addEventListener("click", switchTheme);
begin();
