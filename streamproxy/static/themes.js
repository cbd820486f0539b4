/** Light or dark: the reader's system says, until the reader does. theme.js brings the choice back. */

const THEME = "streamproxy.theme";

export function switchTheme() {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const chosen = dark === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  localStorage.setItem(THEME, chosen);
}
