// The texts of the page in Chinese.
export default {
  "loading": "加载中…"
}
