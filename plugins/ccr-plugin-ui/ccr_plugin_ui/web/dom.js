// Elements, icons, numbers as people read them, dialogs, messages. No markup is ever parsed.
import { t, lang } from './i18n.js'

const SVG = 'http://www.w3.org/2000/svg'
const AS_PROPERTY = new Set(['value', 'checked', 'disabled', 'selected', 'open', 'hidden', 'indeterminate', 'readOnly'])

function fill(element, props, kids) {
 for (const [key, value] of Object.entries(props)) {
  if (value == null || value === false && !AS_PROPERTY.has(key)) continue
  if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
  else if (key === 'data') Object.assign(element.dataset, value)
  else if (key === 'label') element.setAttribute('aria-label', value)
  else if (AS_PROPERTY.has(key)) element[key] = value
  else element.setAttribute(key, value === true ? '' : value)
 }
 element.append(...kids.flat(Infinity).filter(kid => kid != null && kid !== false && kid !== ''))
 return element
}

const isProps = value => value && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Node)

/** An element: h('button.primary', {onclick}, 'Save'). The first part is tag, id and classes as in CSS. */
export function h(what, ...rest) {
 const props = isProps(rest[0]) ? rest.shift() : {}
 const [tag, ...marks] = what.split(/(?=[.#])/)
 const element = document.createElement(tag || 'div')
 for (const mark of marks) mark[0] === '.' ? element.classList.add(mark.slice(1)) : (element.id = mark.slice(1))
 // A select has its options before it has its value.
 const { value, ...others } = props
 fill(element, others, rest)
 if (value != null) 'value' in element ? (element.value = value) : element.setAttribute('value', value)
 return element
}

/** An SVG element. */
export function s(tag, props = {}, ...kids) {
 const element = document.createElementNS(SVG, tag)
 for (const [key, value] of Object.entries(props)) {
  if (value == null) continue
  if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
  else element.setAttribute(key, value)
 }
 element.append(...kids.flat(Infinity).filter(kid => kid != null && kid !== false))
 return element
}

export function put(element, ...kids) {
 element.replaceChildren(...kids.flat(Infinity).filter(kid => kid != null && kid !== false && kid !== ''))
 return element
}

export const enc = encodeURIComponent
export const dump = JSON.stringify
export const clone = value => structuredClone(value)
export const byId = id => document.getElementById(id)
let serial = 0
export const uid = (prefix = 'x') => `${prefix}-${++serial}`

const ICONS = {
 overview: 'M4 13h6V4H4zM14 20h6V11h-6zM4 20h6v-3H4zM14 7h6V4h-6z',
 requests: 'M4 7h11m-4-4 4 4-4 4M20 17H9m4-4-4 4 4 4',
 logs: 'M6 3h9l4 4v14H6zM14 3v5h5M9 12h7M9 16h7',
 providers: 'M7 18a4 4 0 0 1-.6-7.95A6 6 0 0 1 18 9a4.5 4.5 0 0 1 0 9z',
 routing: 'M5 12h4c4 0 4-6 8-6h2M9 12c4 0 4 6 8 6h2M17 3l3 3-3 3M17 15l3 3-3 3',
 transformers: 'M4 6h9M17 6h3M4 12h3M11 12h9M4 18h11M19 18h1M13 4v4M7 10v4M15 16v4',
 presets: 'M4 8l8-4 8 4-8 4zM4 8v8l8 4 8-4V8M12 12v8',
 signin: 'M14 4h5v16h-5M4 12h10m-4-4 4 4-4 4',
 plugins: 'M9 3v5M15 3v5M6 8h12v4a6 6 0 0 1-12 0zM12 18v3',
 statusline: 'M3 5h18v14H3zM6 15h4M12 15h3M17 15h1',
 settings: 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2M16.2 16.2l2.2 2.2M5.6 18.4l2.2-2.2M16.2 7.8l2.2-2.2',
 raw: 'M8 4c-3 0-1 7-4 8 3 1 1 8 4 8M16 4c3 0 1 7 4 8-3 1-1 8-4 8',
 health: 'M3 12h4l3-8 4 16 3-8h4',
 page: 'M5 4h14v16H5zM9 9h6M9 13h6',
 up: 'M6 15l6-6 6 6', down: 'M6 9l6 6 6-6', right: 'M9 6l6 6-6 6', x: 'M6 6l12 12M18 6L6 18', plus: 'M12 5v14M5 12h14',
 menu: 'M4 6h16M4 12h16M4 18h16', copy: 'M9 9h11v11H9zM5 15H4V4h11v1', check: 'M5 12l5 5 9-10', warn: 'M12 4l9 16H3zM12 10v5M12 18v.01',
 play: 'M7 4l12 8-12 8z', out: 'M10 4H5v16h5M20 12H10m6-4 4 4-4 4',
}

/** A line drawing; decoration only, so it is hidden from screen readers. */
export const icon = name => s('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' },
 s('path', { d: ICONS[name] || ICONS.page }))

// --- numbers, times

const locale = () => lang() === 'zh' ? 'zh-CN' : 'en'
export const DASH = '–'
export const number = (value, digits = 0) => value == null ? DASH
 : value.toLocaleString(locale(), { maximumFractionDigits: digits, minimumFractionDigits: digits && value < 100 ? digits : 0 })
export const short = value => value == null ? DASH
 : value >= 1e6 ? `${(value / 1e6).toFixed(value >= 1e7 ? 0 : 1)}M` : value >= 1e4 ? `${Math.round(value / 1e3)}k`
  : value >= 1e3 ? `${(value / 1e3).toFixed(1)}k` : String(Math.round(value))
export function seconds(value) {
 if (value == null) return DASH
 if (value < 1) return `${Math.round(value * 1000)} ms`
 if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`
 if (value < 3600) return `${Math.floor(value / 60)}m ${Math.round(value % 60)}s`
 return `${Math.floor(value / 3600)}h ${Math.round(value % 3600 / 60)}m`
}
export function money(value) {
 if (value == null) return t('unknown')
 if (value === 0) return '$0'
 return value < 0.01 ? `$${value.toFixed(5).replace(/0+$/, '')}` : value < 1 ? `$${value.toFixed(3)}` : `$${value.toFixed(2)}`
}
export const clock = at => new Date(at * 1000).toLocaleTimeString(locale(), { hour12: false })
export const moment = at => new Date(at * 1000).toLocaleString(locale(), { dateStyle: 'medium', timeStyle: 'medium', hour12: false })
export function when(at) {
 const then = new Date(at * 1000)
 return then.toDateString() === new Date().toDateString() ? clock(at)
  : then.toLocaleString(locale(), { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hour12: false })
}
export const size = bytes => bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : bytes >= 1e3 ? `${Math.round(bytes / 1e3)} kB` : `${bytes} B`

// --- small parts

export const badge = (text, kind = '', title) => h(`span.badge${kind && '.' + kind}`, { title }, text)
export const LIVE = { 'aria-live': 'polite' }
export const empty = (text, ...more) => h('div.empty', h('p', text), ...more)
export const loading = () => h('div.loading', { role: 'status' }, h('span.spin', { 'aria-hidden': 'true' }), t('loading'))
export const iconButton = (name, label, onclick, more = {}) =>
 h('button.icon-button', { type: 'button', label: label, title: label, onclick, ...more }, icon(name))
export const button = (label, onclick, kind = '', more = {}) => h(`button${kind && '.' + kind}`, { type: 'button', onclick, ...more }, label)
export const linkButton = (label, href, kind = '') => h(`a.button${kind && '.' + kind}`, { href }, label)
export const code = text => h('code', text)
export const json = value => h('pre.code', { tabindex: '0' }, typeof value === 'string' ? value : dump(value, null, 2))

/** A card: a section with its heading, and what belongs beside the heading. */
export const card = (title, actions, ...kids) => {
 const id = uid('card')
 return h('section.card', { 'aria-labelledby': id }, h('div.card-head', h('h2', { id }, title), h('div.actions', actions || [])), kids)
}

/** What went wrong, with the server's words; `again` offers another try. */
export function failure(error, again) {
 return h('div.notice.bad', { role: 'alert' }, icon('warn'),
  h('div', h('strong', t('failed.title')), h('p', error.message), error.problems?.length ? h('ul', error.problems.map(problem =>
   h('li', problem.path ? code(problem.path) : null, ' ', problem.message))) : null,
  again ? button(t('again'), again) : null))
}

/** A short message, read aloud by screen readers; failures stay until they are closed. */
export function toast(text, kind = 'ok') {
 const area = byId('toasts')
 const close = () => message.remove()
 const message = h(`div.toast.${kind}`, h('span', text), iconButton('x', t('close'), close))
 area.append(message)
 if (kind === 'ok') setTimeout(close, 5000)
 while (area.children.length > 4) area.firstChild.remove()
}

/** A dialog; gives what `finish(value)` got, or null if it was closed. */
export function dialog(title, build, { wide = false } = {}) {
 return new Promise(resolve => {
  const before = document.activeElement
  const id = uid('dialog')
  let result = null
  const finish = value => { result = value; box.close() }
  const box = h(`dialog${wide ? '.wide' : ''}`, { 'aria-labelledby': id, onclose: () => {
   box.remove()
   if (before?.isConnected) before.focus()
   resolve(result)
  } })
  box.append(h('div.dialog-head', h('h2', { id }, title), iconButton('x', t('close'), () => box.close())), build(finish))
  document.body.append(box)
  box.showModal()
  box.querySelector('[autofocus]')?.focus()
 })
}

export const confirm = (title, text, yes, kind = 'danger') => dialog(title, finish => h('div',
 h('p', text), h('div.buttons', button(t('cancel'), () => finish(null), '', { autofocus: true }), button(yes, () => finish(true), kind))))

export async function copy(text) {
 try {
  await navigator.clipboard.writeText(text)
  toast(t('copied'))
 } catch {
  dialog(t('copy.by-hand'), () => h('textarea.mono', { rows: 8, readOnly: true, value: text, label: t('copy.by-hand') }))
 }
}

/** Do something now and every `ms` until the page is left, while the tab is seen. Failures do not end it. */
export async function poll(task, ms, signal) {
 while (!signal.aborted) {
  if (!document.hidden) await task().catch(error => { if (!signal.aborted && error.status !== 0) console.info('ccr:', error.message) })
  await new Promise(resolve => setTimeout(resolve, ms))
 }
}

export function debounce(task, ms) {
 let timer
 return (...args) => { clearTimeout(timer); timer = setTimeout(() => task(...args), ms) }
}

/** While something runs its button is disabled and says so; what it raises is shown. */
export async function busy(element, task) {
 element.disabled = true
 element.setAttribute('aria-busy', 'true')
 try {
  return await task()
 } catch (error) {
  if (error.name !== 'AbortError' && !error.shown) toast(error.message, 'bad')
 } finally {
  element.disabled = false
  element.removeAttribute('aria-busy')
 }
}

/** A handler during which its button is busy. */
export const doing = task => event => busy(event.currentTarget, () => task(event))

/** A table that becomes a list of cards on a phone. `columns`: {title, cell(row), class}. */
export function table(caption, columns, rows, { rowProps = () => ({}) } = {}) {
 return h('div.table-box', { role: 'region', label: caption, tabindex: '0' }, h('table',
  h('caption.sr', caption),
  h('thead', h('tr', columns.map(column => h(`th${column.class ? '.' + column.class : ''}`, { scope: 'col' }, column.title)))),
  h('tbody', rows.map(row => h('tr', rowProps(row), columns.map(column =>
   h(`td${column.class ? '.' + column.class : ''}`, { data: { title: column.title } }, column.cell(row))))))))
}

/** Names with their values. */
export const facts = values => h('dl.facts', Object.entries(values).map(([name, value]) => h('div', h('dt', name), h('dd.break', value ?? '–'))))
export const tile = (label, value, note, kind = '') => h(`div.tile${kind && '.' + kind}`, { role: 'listitem' }, h('div.label', label), h('div.value', value), note ? h('div.note', note) : null)

export const tabs = (label, items, current) => h('nav', { class: 'tabs', label: label }, items.map(([href, text, key]) =>
 h('a', { href, 'aria-current': key === current ? 'page' : null }, text)))
