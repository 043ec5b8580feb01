// Logs: the files of the log folder, by level and request, and following them.
import { api, badge, button, choose, clock, confirm, doing, dump, empty, enc, field, h, input, poll, put, query, size, t, toggle } from '../kit.js'
const KINDS = { fatal: 'bad', critical: 'bad', error: 'bad', warn: 'warn', warning: 'warn' }

export default async function (page) {
 const { files } = await page.get('/api/logs/files')
 if (!files.length) return void page.draw([t('nav.logs'), t('logs.lead')], h('div.card', empty(t('logs.none'))))
 const values = { file: page.query.get('file') ?? files[0].name, level: '', request: page.query.get('request') ?? '' }
 const box = h('ol.log', { tabindex: '0', label: t('nav.logs') })
 let before, following = true, shown = ''
 const read = more => page.get(`/api/logs${query({ ...values, lines: 200, ...more })}`)
 const older = button(t('logs.older'), doing(async () => {
  following = follow.querySelector('input').checked = false
  const found = await read({ before })
  before = found.before
  older.hidden = !before
  box.prepend(...found.lines.map(line))
 }))
 const load = async () => {
  const found = await read()
  const now = dump(found)
  if (now === shown) return
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40 || !shown
  shown = now
  before = found.before
  older.hidden = !before
  put(box, found.lines.length ? found.lines.map(line) : h('li', t('logs.empty')))
  if (atEnd) box.scrollTop = box.scrollHeight
 }
 const change = (key, value) => { values[key] = value; shown = ''; load() }
 const follow = toggle(t('requests.follow'), true, on => { following = on })
 page.draw([t('nav.logs'), t('logs.lead'), follow],
  h('form.filters', { label: t('filter.title'), onsubmit: event => event.preventDefault() },
   field(t('logs.file'), choose(values.file, files.map(it => [it.name, `${it.name} (${size(it.size)})`]), value => change('file', value))),
   field(t('logs.level'), choose('', [['', t('filter.all')], 'error', 'warning', 'info', 'debug'], value => change('level', value))),
   field(t('logs.request'), input(values.request, () => {}, { type: 'search', onchange: event => change('request', event.target.value.trim()), placeholder: 'req_…' })),
   h('div.field', button(t('logs.clear'), doing(async () => {
    if (!await confirm(t('logs.clear'), t('logs.clear.text', { name: values.file }), t('logs.clear'))) return
    await api.delete(`/api/logs${query({ file: values.file })}`)
    await load()
   }), 'small'))), h('div', older), box)
 await load()
 poll(async () => { if (following) await load() }, 1000, page.signal)
}

/** One line: a text, or an object of which the usual parts have places of their own. */
function line(entry) {
 if (typeof entry === 'string') return h('li', h('span.break', entry))
 const { time = '', level = '', message, msg, name, ...rest } = entry
 const request = rest.request ?? rest.id
 return h('li', { data: { level } }, h('span.num', typeof time === 'number' ? clock(time) : time.replace(/^\d{4}-\d\d-\d\dT|Z$/g, '').slice(0, 12)), level ? badge(level, KINDS[level.toLowerCase()]) : null,
  typeof request === 'string' ? h('a', { href: `#/requests/${enc(request)}` }, request.slice(0, 14)) : null, h('span.break', String(message ?? msg ?? '')), name ? h('small.muted', name) : null, Object.keys(rest).length ? h('span.break.muted.rest', dump(rest)) : null)
}
