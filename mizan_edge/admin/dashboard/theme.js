// Light or dark: as the system has it, or as the reader wants it.

const KEPT = "mizan-edge-theme"
const THEMES = ["auto", "light", "dark"]

/** Has a button go through the themes. */
export function switchThemes(button) {
  let theme = THEMES.find((name) => name === localStorage.getItem(KEPT)) ?? "auto"

  function use() {
    document.documentElement.dataset.theme = theme
    button.textContent = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme]
    button.setAttribute("aria-label", `Colours: ${theme}. Change them.`)
  }

  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]
    localStorage.setItem(KEPT, theme)
    use()
  })
  use()
}
