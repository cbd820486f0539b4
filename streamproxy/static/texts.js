/** The page's words in the reader's language, and how it puts errors, times and numbers into plain ones. */

import { CHINESE } from "./chinese.js";
import { ENGLISH } from "./english.js";

const LANGUAGE = "streamproxy.language";

export const language = localStorage.getItem(LANGUAGE) ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
export const texts = language === "zh" ? CHINESE : ENGLISH;

const numbers = new Intl.NumberFormat(language);

/** Use the other language; the page is loaded anew, and goes on where it was. */
export function switchLanguage() {
  localStorage.setItem(LANGUAGE, language === "zh" ? "en" : "zh");
  location.reload();
}

/** Put the page's own words where the markup asks for them. */
export function translate(root) {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = texts[element.dataset.text];
  for (const element of root.querySelectorAll("[data-hint]")) element.placeholder = texts[element.dataset.hint];
  for (const element of root.querySelectorAll("[data-label]")) {
    element.ariaLabel = texts[element.dataset.label];
    if (element instanceof HTMLButtonElement) element.title = texts[element.dataset.label];
  }
}

/** A StreamError in plain words. The server's own words stand where it says more than a kind of fault. */
export function plainly(fault) {
  const kind = fault.code?.startsWith("upstream_") ? 502 : fault.status;
  return texts.faults[fault.code] ?? texts.faults[kind] ?? (fault.message || texts.unknownFault);
}

/** Seconds as people say them. */
export function duration(seconds) {
  const [h, min, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  if (h > 0) return texts.hours(h, min);
  return min > 0 ? texts.minutes(min, s) : texts.seconds(s);
}

/** A window of a limit as people say it; `seconds` is its length. */
export function period(seconds) {
  if (seconds >= 86_400) return texts.period.day;
  if (seconds === 3600) return texts.period.hour;
  if (seconds === 60) return texts.period.minute;
  return seconds % 60 === 0 ? texts.period.minutes(seconds / 60) : texts.period.second(seconds);
}

export function count(number) {
  return numbers.format(number);
}
