// The texts of the page in English.
export default {
  "loading": "Loading…"
}
