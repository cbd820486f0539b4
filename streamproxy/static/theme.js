/** The theme that was chosen, before anything is painted: hence no module. `data-theme` is light, dark or missing. */

const chosenTheme = localStorage.getItem("streamproxy.theme");
if (chosenTheme) document.documentElement.dataset.theme = chosenTheme;
