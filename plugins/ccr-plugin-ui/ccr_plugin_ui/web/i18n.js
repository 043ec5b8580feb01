// Languages: one table each, with the same keys.
import en from './en.js'
import zh from './zh.js'

const TABLES = { en, zh }
export const LANGUAGES = [['en', 'English'], ['zh', '中文']]
export const lang = () => document.documentElement.lang in TABLES ? document.documentElement.lang : 'en'

/** The text for a key such as `nav.overview` (group, then name) in the chosen language, if there is one. */
function find(key) {
 const [group, ...name] = key.split('.')
 const found = TABLES[lang()][group]
 return typeof found === 'string' ? (name.length ? undefined : found) : found?.[name.join('.')]
}

/** The text for a key; `{name}` in it is replaced by `values.name`. */
export function t(key, values) {
 const text = find(key) ?? key
 return values ? text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole) : text
}

/** A text of the table if there is one for this key, else what is given (names that plugins bring). */
export const known = (key, otherwise) => find(key) ?? otherwise
