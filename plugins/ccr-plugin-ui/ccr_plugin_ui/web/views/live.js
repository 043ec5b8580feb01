// Rows of requests: the newest page once, then every second what is new or has changed.
import { api, badge, clock, enc, h, known, LIVE, money, poll, query, seconds, short, t, table, when } from '../kit.js'
export const STATES = { running: 'info', done: 'ok', failed: 'bad', left: 'warn', lost: 'warn' }

export const stateBadge = row => badge([row.state === 'failed' || row.state === 'done' ? row.status : '', row.state === 'done' && row.status ? '' : t(`state.${row.state}`)].filter(Boolean).join(' '), STATES[row.state] ?? '')

export const route = row => row.model ? h('span.route', h('span.muted', row.provider), h('span.sep', { 'aria-hidden': 'true' }, '/'), h('strong', row.model)) : h('span.muted', t('requests.no-route'))
const last = path => path ? path.replace(/\/+$/, '').split(/[\\/]/).at(-1) : null

export const columns = now => [
 { title: t('col.time'), cell: row => h('a.when', { href: `#/requests/${enc(row.id)}`, label: `${clock(row.at)} ${row.model ?? row.requested ?? ''}` }, when(row.at)), class: 'time' },
 { title: t('col.state'), cell: stateBadge, class: 'state' },
 { title: t('col.route'), cell: row => h('div', route(row), row.error ? h('div.why.bad', row.error.message) : row.why ? h('div.why', row.why) : null), class: 'main' },
 { title: t('col.scenario'), cell: row => row.scenario ? badge(known(`scenario.${row.scenario}`, row.scenario)) : '' },
 { title: t('col.where'), cell: row => h('div', last(row.project) ?? h('span.muted', '–'), row.agent_type || row.agent_id ? h('div.why', row.agent_type ?? row.agent_id) : null) },
 { title: t('col.tokens'), cell: row => h('span.nowrap', `${short(total(row.tokens))} → ${short(row.tokens?.output)}`), class: 'num' },
 { title: t('col.first'), cell: row => seconds(row.first), class: 'num' },
 { title: t('col.duration'), cell: row => row.state === 'running' ? h('span.ticking', { data: { at: row.at } }, seconds(Math.max(0, now() - row.at))) : seconds(row.duration), class: 'num' },
 { title: t('col.speed'), cell: row => row.tokens_per_second ? row.tokens_per_second.toFixed(0) : '–', class: 'num' },
 { title: t('col.cost'), cell: row => row.state === 'running' ? '–' : money(row.cost), class: 'num' },
]

export const total = tokens => !tokens || tokens.input === null && tokens.counted === null ? null
 : tokens.input == null ? tokens.counted : tokens.input + (tokens.cache_read ?? 0) + (tokens.cache_write ?? 0)

/** A table of requests in `box`. `filters` are parameters of the API; `limit` rows are kept while following. */
export class Live {
 constructor(box, { filters = {}, limit = 50, signal, follow = true, caption }) {
  Object.assign(this, { box, filters, limit, signal, follow, caption, rows: [], before: null, cursor: null, extra: 0 })
  this.say = h('div.sr', LIVE)
  this.onrows = () => {}
 }

 async start() {
  await this.load()
  poll(async () => { if (this.follow) await this.next() }, 1000, this.signal)
 }

 ask(more) { return api.get(`/api/history/requests${query({ ...this.filters, limit: this.limit, ...more })}`, { signal: this.signal }) }

 async load() {
  ({ requests: this.rows, before: this.before, after: this.cursor } = await this.ask())
  this.draw()
 }

 async next() {
  // What has ended is not among the running any more, and so never told as a change.
  if (this.filters.status === 'running') return this.load()
  const { requests, after } = await this.ask({ after: this.cursor, limit: 200 })
  this.cursor = after
  if (!requests.length) return this.tick()
  const changed = new Map(requests.map(row => [row.id, row]))
  const fresh = requests.filter(row => !this.rows.some(old => old.id === row.id))
  this.rows = [...this.rows.map(row => changed.get(row.id) ?? row), ...fresh].sort((a, b) => b.at - a.at).slice(0, this.limit + this.extra)
  this.draw()
  if (fresh.length) this.say.textContent = t('requests.new', { n: fresh.length })
 }

 async older() {
  const { requests, before } = await this.ask({ before: this.before })
  this.rows.push(...requests.filter(row => !this.rows.some(old => old.id === row.id)))
  this.before = before
  this.extra += requests.length
  this.draw()
 }

 tick() {
  const now = Date.now() / 1000
  for (const cell of this.box.querySelectorAll('.ticking')) cell.textContent = seconds(Math.max(0, now - Number(cell.dataset.at)))
 }

 draw() {
  const now = () => Date.now() / 1000
  const focus = this.box.contains(document.activeElement) ? document.activeElement.closest('tr')?.dataset.id : null
  const scroll = this.box.querySelector('.table-box')?.scrollLeft ?? 0
  const body = table(this.caption, columns(now), this.rows, { rowProps: row => ({ data: { id: row.id, state: row.state },
   onclick: event => { if (!event.target.closest('a,button') && !getSelection().toString()) location.hash = `#/requests/${enc(row.id)}` } }) })
  body.classList.add('cards', 'clickable')
  this.box.replaceChildren(this.rows.length ? body : h('div.empty', h('p', t('requests.none'))), this.say)
  body.scrollLeft = scroll
  if (focus) this.box.querySelector(`tr[data-id="${CSS.escape(focus)}"] a`)?.focus()
  this.onrows(this)
 }
}
