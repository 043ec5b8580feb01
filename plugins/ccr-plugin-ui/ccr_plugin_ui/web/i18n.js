// Languages: one table each, with the same keys.
import en from './en.js'
import zh from './zh.js'

const TABLES = { en, zh }
export const LANGUAGES = [['en', 'English'], ['zh', '中文']]
export const lang = () => document.documentElement.lang in TABLES ? document.documentElement.lang : 'en'

/** The text for a key in the chosen language; `{name}` in it is replaced by `values.name`. */
export function t(key, values) {
  const text = TABLES[lang()][key] ?? en[key] ?? key
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole) : text
}

/** A text of the table if there is one for this key, else what is given (names that plugins bring). */
export const known = (key, otherwise) => TABLES[lang()][key] ?? en[key] ?? otherwise
