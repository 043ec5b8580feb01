// Changing the configuration without losing anybody's work.
//
// A page edits a copy of the document as it was read. What is sent is the difference only, by path, with the version
// that was read. If somebody else has saved in the meantime (409), the person sees what they changed and what was
// about to be saved, and chooses; entries of lists are found again by their name, never by a position that moved.
import { api } from './api.js'
import { button, clone, code, confirm, dialog, dump, h, put, toast } from './dom.js'
import { t } from './i18n.js'

export const same = (a, b) => dump(a) === dump(b)
const isTable = value => value !== null && typeof value === 'object' && !Array.isArray(value)

/** A path as the server writes it: Providers[0].transformer["gpt-4.1"]. */
export const pathText = path => path.reduce((text, key) => typeof key === 'number' ? `${text}[${key}]`
 : /^[\w$@/-]+$/.test(key) ? (text ? `${text}.${key}` : key) : `${text}[${dump(key)}]`, '')

export const at = (value, path) => path.reduce((inner, key) => inner?.[key], value)

export function setAt(document, path, value) {
 let inner = document
 path.slice(0, -1).forEach((key, place) => { inner = inner[key] ??= typeof path[place + 1] === 'number' ? [] : {} })
 const last = path.at(-1)
 if (value !== undefined) inner[last] = value
 else if (Array.isArray(inner)) inner.splice(last, 1)
 else delete inner[last]
}

/** What turns `before` into `after`: [{op, path, value}]. A list of another length is one change. */
export function diff(before, after, path = []) {
 if (same(before, after)) return []
 if (isTable(before) && isTable(after)) {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap(key =>
   after[key] === undefined ? (before[key] === undefined ? [] : [{ op: 'delete', path: [...path, key] }])
    : before[key] === undefined ? [{ op: 'set', path: [...path, key], value: after[key] }]
     : diff(before[key], after[key], [...path, key]))
 }
 if (Array.isArray(before) && Array.isArray(after) && before.length === after.length && before.every(isTable) && after.every(isTable)
  && before.every((item, place) => identity(item) === identity(after[place]))) {
  return after.flatMap((item, place) => diff(before[place], item, [...path, place]))
 }
 return [{ op: 'set', path, value: after }]
}

const identity = item => isTable(item) ? item.name ?? item.path ?? dump(item) : dump(item)

/** Where a path of `base` leads in `fresh`, which may have other places in its lists; null if it is not there. */
export function moved(path, base, fresh) {
 const result = []
 for (const key of path) {
  if (typeof key !== 'number') result.push(key)
  else {
   const item = base?.[key]
   const place = Array.isArray(fresh) ? fresh.findIndex(other => identity(other) === identity(item)) : -1
   if (item !== undefined && place < 0) return null
   result.push(item === undefined ? key : place)
  }
  base = base?.[key]
  fresh = fresh?.[result.at(-1)]
 }
 return result
}

const shown = value => {
 if (value === undefined) return t('conflict.absent')
 const text = typeof value === 'string' ? value : dump(value)
 return text.length > 160 ? `${text.slice(0, 160)}…` : text
}

export const changeList = (changes, base) => h('ul.changes', changes.map(change => h('li', code(pathText(change.path)),
 h('span.from', shown(at(base, change.path))), h('span', { 'aria-hidden': 'true' }, ' → '), h('span.to', change.op === 'delete' ? t('conflict.removed') : shown(change.value)))))

/** Ask what to do about a change by somebody else. Gives 'mine', 'edit' or 'theirs'. */
function ask(theirs, mine, base, lost) {
 const touched = mine.filter(change => theirs.some(other => {
  const [a, b] = [pathText(change.path), pathText(other.path)]
  return a.startsWith(b) || b.startsWith(a)
 }))
 return dialog(t('conflict.title'), finish => h('div',
  h('p', t('conflict.text')),
  h('h3', t('conflict.theirs')), theirs.length ? changeList(theirs, base) : h('p.muted', t('conflict.format')),
  h('h3', t('conflict.mine')), changeList(mine, base),
  touched.length ? h('p.notice.warn', t('conflict.both', { paths: touched.map(change => pathText(change.path)).join(', ') })) : null,
  lost.length ? h('p.notice.warn', t('conflict.lost', { paths: lost.map(change => pathText(change.path)).join(', ') })) : null,
  h('div.buttons', button(t('conflict.drop'), () => finish('theirs')), button(t('conflict.look'), () => finish('edit')),
   button(t('conflict.apply'), () => finish('mine'), 'primary', { autofocus: true }))), { wide: true })
}

/** What the person is told about a change that was written. */
export function tellSaved({ applied, reason, warnings = [] }) {
 toast(applied ? t('saved') : t('saved.not-applied', { reason }), applied ? 'ok' : 'bad')
 for (const text of applied && reason ? [reason, ...warnings] : warnings) toast(text, 'warn')
}

/** The configuration as one page edits it. */
export class Draft extends EventTarget {
 static async read(page) { return new Draft(await page.get('/api/config')) }

 constructor(answer) {
  super()
  this.take(answer)
 }

 take(answer) {
  if (!answer.config) throw Object.assign(new Error(t('config.unreadable')), { problems: answer.problems })
  this.info = answer
  this.version = answer.version
  this.base = answer.config
  this.doc = clone(this.base)
  this.problems = []
 }

 /** The spelling of a top-level key that this file has: some have two. */
 key(...names) { return names.find(name => this.doc[name] !== undefined) ?? names[0] }
 get providers() { return this.doc[this.key('Providers', 'providers')] ?? [] }
 get(path) { return at(this.doc, path) }
 set(path, value) {
  setAt(this.doc, path, value)
  this.touch()
 }
 touch() { this.dispatchEvent(new Event('change')) }
 get changes() { return diff(this.base, this.doc) }
 get dirty() { return !same(this.base, this.doc) }
 reset() {
  this.doc = clone(this.base)
  this.problems = []
  this.touch()
 }

 /** Write the changes; true if that was done. What the server says against it is in `problems`. */
 async save() {
  const changes = this.changes
  if (!changes.length) return true
  try {
   const answer = await accepting(more => api.patch('/api/config', { version: this.version, changes, ...more }))
   this.take(await api.get('/api/config'))
   this.touch()
   tellSaved(answer)
   return true
  } catch (error) {
   if (error.status === 409) return this.reapply()
   if (!error.problems.length) throw error
   this.problems = error.problems
   this.dispatchEvent(new Event('problems'))
   return false
  }
 }

 async reapply() {
  const fresh = await api.get('/api/config')
  const mine = this.changes
  const placed = mine.map(change => ({ ...change, path: moved(change.path, this.base, fresh.config) }))
  const choice = await ask(diff(this.base, fresh.config), mine, this.base, mine.filter((_, place) => !placed[place].path))
  if (choice === null) return false
  this.take(fresh)
  if (choice !== 'theirs') for (const { op, path, value } of placed) if (path) setAt(this.doc, path, op === 'delete' ? undefined : value)
  this.touch()
  this.dispatchEvent(new Event('replaced'))
  return choice === 'mine' ? this.save() : false
 }
}

/** A key that stays while its host changes is sent on only if the person agrees: `send({accept_host: true})`. */
export async function accepting(send) {
 try {
  return await send({})
 } catch (error) {
  if (!error.body?.error?.accept_host || !await confirm(t('host.title'), error.problems.map(it => it.message).join('\n'), t('host.yes'))) throw error
  return send({ accept_host: true })
 }
}

/** Send something else with a version: `sendIt({version, …})`; `mine` is what it changes in the document. On a conflict the
 * person decides; true if it was written. */
export async function guarded(base, mine, sendIt) {
 try {
  tellSaved(await accepting(more => sendIt({ version: base.version, ...more })))
  return true
 } catch (error) {
  if (error.status !== 409) throw error
  const fresh = await api.get('/api/config')
  const choice = await ask(diff(base.config ?? {}, fresh.config), mine, base.config ?? {}, [])
  if (choice === null) return false
  Object.assign(base, fresh)
  if (choice === 'theirs') base.replaced?.()
  return choice === 'mine' && guarded(base, mine, sendIt)
 }
}

// --- leaving with unsaved changes

const open = new Set()
/** Until `signal` aborts `isDirty` is asked when somebody wants to leave. */
export function guard(isDirty, signal) {
 open.add(isDirty)
 signal.addEventListener('abort', () => open.delete(isDirty), { once: true })
}
export const unsaved = () => [...open].some(isDirty => isDirty())
addEventListener('beforeunload', event => { if (unsaved()) event.preventDefault() })

/** The bar at the foot of a page with unsaved changes. */
export function saveBar(draft, page, rerender) {
 const summary = h('div.problems', { role: 'alert', tabindex: '-1' })
 const details = h('details', h('summary', t('changes.show')))
 const label = h('strong')
 const save = button(t('save'), async () => {
  save.disabled = true
  try {
   await draft.save()
  } catch (error) {
   toast(error.message, 'bad')
  }
  save.disabled = false
 }, 'primary')
 const bar = h('div.save-bar', { role: 'region', label: t('changes.title'), hidden: true }, summary,
  h('div.save-row', h('div', label, details), h('div.actions', button(t('discard'), () => { draft.reset(); rerender() }), save)))
 const show = () => {
  const changes = draft.changes
  bar.hidden = !changes.length
  label.textContent = t('changes.count', { n: changes.length })
  put(details, details.firstChild, changeList(changes, draft.base))
  if (!draft.problems.length) showProblems(page, summary, [])
 }
 draft.addEventListener('change', show, { signal: page.signal })
 draft.addEventListener('replaced', () => rerender(), { signal: page.signal })
 draft.addEventListener('problems', () => showProblems(page, summary, draft.problems), { signal: page.signal })
 guard(() => draft.dirty, page.signal)
 show()
 return bar
}

/** Mark problems at the fields they belong to (`data-path`), and list them all with links. */
export function showProblems(page, summary, problems) {
 for (const field of page.root.querySelectorAll('.field.bad')) {
  field.classList.remove('bad')
  field.querySelector('.error')?.replaceChildren()
  field.querySelector('[aria-invalid]')?.removeAttribute('aria-invalid')
 }
 put(summary, problems.length ? h('p', t('problems.title', { n: problems.length })) : null, problems.length ? h('ul', problems.map(problem => {
  const field = fieldOf(page.root, problem.path ?? '')
  if (field) {
   field.classList.add('bad')
   field.querySelector('.error').textContent = problem.message
   field.querySelector('input,select,textarea')?.setAttribute('aria-invalid', 'true')
  }
  return h('li', field ? h('button.link', { type: 'button', onclick: () => field.querySelector('input,select,textarea,button')?.focus() }, problem.path) : code(problem.path ?? ''),
   ' ', problem.message)
 })) : null)
 if (problems.length) summary.focus()
}

function fieldOf(root, path) {
 for (let text = path; text; text = text.slice(0, Math.max(text.lastIndexOf('.'), text.lastIndexOf('['), 0))) {
  const field = root.querySelector(`.field[data-path="${CSS.escape(text)}"]`)
  if (field) return field
 }
 const name = /[\w-]+$/.exec(path)?.[0]
 return name ? root.querySelector(`.field[data-path$="${CSS.escape(name)}"]`) : null
}
