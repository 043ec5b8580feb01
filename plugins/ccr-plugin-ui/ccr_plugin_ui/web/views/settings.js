// Settings of the router and of what plugins run beside it; what is not here stays as it is.
import { area, at, card, choose, clone, Draft, field, h, input, known, numeric, optionsForm, saveBar, secret, t, toggle } from '../kit.js'
/** Group, then path, kind, and the value that holds when nothing is set. */
const GROUPS = [
 ['server', [['HOST', 'text', '127.0.0.1'], ['PORT', 'number', 3456], ['APIKEY', 'secret', ''], ['LOG', 'yes', true], ['LOG_LEVEL', ['fatal', 'error', 'warn', 'info', 'debug', 'trace'], 'info'], ['management.enabled', 'yes', true], ['management.remote', 'owner', 'false']]],
 ['network', [['PROXY_URL', 'text', ''], ['NO_PROXY', 'lines', ''], ['API_TIMEOUT_MS', 'number', 600000], ['limits.connect_s', 'number', 10], ['limits.first_byte_s', 'number', ''], ['limits.idle_s', 'number', 300], ['limits.ping_s', 'number', 15], ['limits.body_mb', 'number', 50], ['limits.header_kb', 'number', 64]]],
 ['failures', [['retry.attempts', 'number', 1], ['retry.max_seconds', 'number', 10], ['retry.also', 'lines', ''], ['limits.tool_rounds', 'number', 8]]],
 ['client', [['CLAUDE_PATH', 'owner', 'claude'], ['NON_INTERACTIVE_MODE', 'yes', false], ['CUSTOM_ROUTER_PATH', 'owner', ''], ['REWRITE_SYSTEM_PROMPT', 'owner', ''], ['forceUseImageAgent', 'yes', false], ['count_tokens', ['local', 'upstream'], 'local']]],
]
const NAMES = { PROXY_URL: ['HTTPS_PROXY', 'https_proxy', 'httpsProxy', 'PROXY_URL'], NO_PROXY: ['NO_PROXY', 'no_proxy', 'noProxy'] }

export default async function (page) {
 const [draft, { plugins }] = await Promise.all([Draft.read(page), page.get('/api/plugins')])
 const set = (path, value) => {
  draft.set(path, value)
  // A table that only this page has made goes with its last value.
  const above = path.slice(0, -1)
  if (above.length && at(draft.base, above) === undefined && !Object.keys(draft.get(above) ?? {}).length) draft.set(above, undefined)
 }
 const one = ([text, kind, standard]) => {
  const path = text.split('.')
  path[0] = draft.key(...NAMES[path[0]] ?? path)
  const value = draft.get(path)
  const write = next => { if (next !== undefined || draft.get(path) !== undefined) set(path, next === '' ? undefined : next) }
  const more = { placeholder: String(standard), 'data-key': text, readOnly: kind === 'owner' }
  const standing = ['', t('options.default', { value: standard === true ? t('yes') : standard === false ? t('no') : standard })]
  const control = Array.isArray(kind) ? choose(value ?? '', [standing, ...kind], next => write(next || undefined), more)
   : kind === 'yes' ? choose(value === undefined ? '' : String(value), [standing, ['true', t('yes')], ['false', t('no')]], next => write(next && next === 'true'), more)
    : kind === 'number' ? numeric(value, write, more) : kind === 'secret' ? secret(value, write, more)
     : kind === 'lines' ? area(Array.isArray(value) ? value.join('\n') : value, next => {
      const lines = next.split(/[\n,]+/).map(line => line.trim()).filter(Boolean)
      write(lines.length ? lines.map(line => /^\d+$/.test(line) ? Number(line) : line) : undefined)
     }, { ...more, rows: 2 }) : input(value, write, more)
  return field(known(`set.${text}`, text), control, { hint: kind === 'owner' ? t('settings.owner') : known(`hint.${text}`, ''), path: path.join('.') })
 }
 /** What a plugin runs beside requests, with its options; `false` switches it off. */
 const offer = it => {
  const value = draft.get(it.path)
  const write = values => set(it.path, values && Object.keys(values).length ? clone(values) : it.on || value === false ? undefined : {})
  return h('details', { data: { offer: it.name } }, h('summary', h('strong', it.name), ' ', h('small.muted', it.summary)),
   h('p', toggle(t('provider.enabled'), value === undefined ? it.on : value !== false, on => on ? write(typeof value === 'object' ? value : {}) : set(it.path, false))),
   optionsForm(it.options, typeof value === 'object' ? value : {}, write, { path: it.path.join('.') }))
 }
 const draw = () => page.draw([t('nav.settings'), t('settings.lead', { path: draft.info.path })],
  draft.info.warnings.map(it => h('p.notice.warn', it)), draft.info.unknown.length ? h('p.notice.info', t('settings.unknown', { names: draft.info.unknown.join(', ') })) : null,
  GROUPS.map(([name, fields]) => card(t(`settings.${name}`), [], h('div.grid', fields.map(one)))),
  card(t('settings.beside'), [], h('div.facts-list', plugins.flatMap(it => it.offers).filter(it => it.path && (it.path[0] !== 'pages' || it.options.length)).map(offer))),
  saveBar(draft, page, draw))
 draw()
}
