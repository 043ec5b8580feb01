// The file itself, with what is wrong marked at its line. Nothing is written that the router would refuse.
import { accepting, api, badge, busy, button, code, debounce, dialog, guard, h, put, t, tellSaved, toast } from '../kit.js'
export default async function (page) {
 const file = await page.get('/api/config/text')
 let saved = file.text
 let problems = []
 let version = file.version
 const gutter = h('div.gutter', { 'aria-hidden': 'true' })
 const list = h('div.problems', { role: 'status', 'aria-live': 'polite', id: 'problems' })
 const text = h('textarea.mono', { spellcheck: 'false', autocomplete: 'off', wrap: 'off', label: t('raw.text'), 'aria-describedby': 'problems', value: file.text })
 const state = h('span')
 const numbers = () => {
  const lines = text.value.split('\n').length
  const bad = new Map(problems.filter(it => it.line).map(it => [it.line, it.message]))
  put(gutter, Array.from({ length: lines }, (_, place) => h(`div${bad.has(place + 1) ? '.bad' : ''}`, { title: bad.get(place + 1) }, String(place + 1))))
  gutter.scrollTop = text.scrollTop
 }
 const jump = problem => {
  const lines = text.value.split('\n')
  const start = lines.slice(0, (problem.line ?? 1) - 1).reduce((sum, line) => sum + line.length + 1, 0)
  text.focus()
  text.setSelectionRange(start + Math.max((problem.column ?? 1) - 1, 0), start + (lines[(problem.line ?? 1) - 1]?.length ?? 0))
  text.scrollTop = Math.max(0, ((problem.line ?? 1) - 6) * parseFloat(getComputedStyle(text).lineHeight))
 }
 const show = (found, warnings = []) => {
  problems = found
  numbers()
  text.setAttribute('aria-invalid', String(found.length > 0))
  put(list, found.length ? [h('p', h('strong', t('problems.title', { n: found.length }))), h('ul', found.map(it => h('li', h('button.link', { type: 'button', onclick: () => jump(it) }, it.line ? t('raw.place', { line: it.line, column: it.column ?? 1 }) : it.path || '–'), ' ', it.path && it.line ? [code(it.path), ' '] : '', it.message)))] : h('p.good', t('raw.good')),
   warnings.length ? h('ul', warnings.map(it => h('li', badge(t('level.warning'), 'warn'), ' ', it.message ?? it))) : null)
 }
 const check = async () => {
  const asked = text.value
  const answer = await api.post('/api/config/check', { text: asked }, { signal: page.signal })
  if (asked === text.value) show(answer.problems ?? [], answer.warnings ?? [])
 }
 const later = debounce(() => check().catch(error => { if (error.name !== 'AbortError') show(error.problems?.length ? error.problems : [{ path: '', message: error.message }]) }), 500)
 const mark = () => { save.disabled = text.value === saved; state.textContent = text.value === saved ? '' : t('raw.unsaved') }
 const save = button(t('save'), () => busy(save, write).then(mark), 'primary')
 const write = async () => {
  try {
   const answer = await accepting(more => api.put('/api/config/text', { version, text: text.value, ...more }))
   ;({ text: saved, version } = await api.get('/api/config/text'))
   text.value = saved
   show([], answer.warnings)
   tellSaved(answer)
  } catch (error) {
   if (error.status === 409) return conflict()
   if (!error.problems?.length) throw error
   show(error.problems)
   list.querySelector('button')?.focus()
   toast(t('raw.refused'), 'bad')
  }
 }
 const conflict = async () => {
  const theirs = await api.get('/api/config/text')
  const choice = await dialog(t('conflict.title'), finish => h('div', h('p', t('raw.conflict')), h('div.two.even', h('div', h('h3', t('conflict.theirs')), h('textarea.mono', { readOnly: true, rows: 14, value: theirs.text, label: t('conflict.theirs') })), h('div', h('h3', t('conflict.mine')), h('textarea.mono', { readOnly: true, rows: 14, value: text.value, label: t('conflict.mine') }))),
   h('div.buttons', button(t('conflict.drop'), () => finish('theirs')), button(t('raw.merge'), () => finish('edit'), 'primary', { autofocus: true }), button(t('raw.overwrite'), () => finish('mine'), 'danger'))), { wide: true })
  if (choice === null) return
  version = theirs.version
  saved = theirs.text
  if (choice === 'theirs') text.value = theirs.text
  if (choice === 'mine') return write()
  later()
  numbers()
 }
 text.addEventListener('input', () => { numbers(); mark(); later() })
 text.addEventListener('scroll', () => { gutter.scrollTop = text.scrollTop })
 text.addEventListener('keydown', event => {
  if ((event.ctrlKey || event.metaKey) && event.key === 's') { event.preventDefault(); if (!save.disabled) save.click() }
 })
 guard(() => text.value !== saved, page.signal)
 page.draw([t('nav.raw'), h('span', code(file.path ?? `config.${file.syntax === 'toml' ? 'toml' : 'json'}`), ' ', t('raw.lead')), state, button(t('discard'), () => { text.value = saved; mark(); numbers(); later() }), save],
  h('div.editor', gutter, text), list)
 numbers()
 mark()
 later()
}
