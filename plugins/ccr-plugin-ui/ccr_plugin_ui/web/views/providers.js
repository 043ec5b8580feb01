// Providers: who can be asked, with which key, for which models; tried with one small real request.
import { api, badge, button, card, chips, choose, clone, confirm, doing, dump, empty, enc, field, guard, guarded, h, icon, iconButton, input, known, linkButton, LIVE, money, number, put, seconds, secret, showProblems, t, toast, toggle } from '../kit.js'
const url = (name, rest = '') => `/api/providers/${enc(name)}${rest}`

export default page => page.params[0] === 'add' ? add(page) : page.params[0] ? edit(page, page.params[0]) : list(page)

/** The providers, and the document as it is, by which a conflict is explained. */
async function read(page) {
 const [{ version, providers }, { config }] = await Promise.all([page.get('/api/providers'), page.get('/api/config')])
 return { providers, base: { version, config: config ?? {} } }
}

const KEYS = { set: 'ok', unset: 'bad', missing: 'bad', account: 'info' }
const keyBadge = ({ key }) => badge(t(`key.${key.state}`, { name: key.source ?? '' }), KEYS[key.state])
const cooling = ({ cooling }) => cooling.map(it => badge(t('providers.cooling', { time: seconds(it.seconds) }), 'warn', it.why))

async function list(page) {
 const { providers, base } = await read(page)
 const order = providers.map(it => it.name)
 const reorder = async (place, by) => {
  const names = [...order]
  names.splice(place + by, 0, ...names.splice(place, 1))
  if (!await guarded(base, [{ path: ['Providers', t('providers.order')], value: names }], more => api.put('/api/providers/order', { ...more, names }))) return
  await page.again()
  document.querySelector(`[data-provider="${CSS.escape(order[place])}"] button`)?.focus()
 }
 const mover = (name, by, provider, place) => iconButton(name, t(`list.${name}`, { name: provider.name }), doing(() => reorder(place, by)), { disabled: !providers[place + by] })
 const one = (provider, place) => {
  const result = h('div', LIVE)
  const { name, models, enabled } = provider
  return h('li.card.provider', { data: { provider: name, off: enabled ? 'no' : 'yes' } },
   h('div.card-head', h('div', h('h2', h('a', { href: `#/providers/${enc(name)}` }, name)), h('p.hint.break', [provider.host || provider.base_url, provider.dialect].filter(Boolean).join(' · '))),
    h('div.actions', mover('up', -1, provider, place), mover('down', 1, provider, place))),
   h('div.row.wrap', keyBadge(provider), enabled ? null : badge(t('providers.off'), 'warn'), cooling(provider), [...new Set(provider.transformers.map(it => it.name))].map(it => badge(it))),
   provider.warnings.map(warning => h('p.notice.warn', warning)),
   h('ul.chips', { label: t('providers.models') }, models.slice(0, 8).map(model => h('li.chip', model.title)), models.length > 8 ? h('li.chip.muted', t('providers.more', { n: models.length - 8 })) : null),
   result,
   h('div.buttons', linkButton(t('edit'), `#/providers/${enc(name)}`, 'small'), button(t('providers.test'), doing(() => test(result, name, models[0]?.id)), 'small', { disabled: !enabled || !models.length })))
 }
 page.draw([t('nav.providers'), t('providers.lead'), linkButton([icon('plus'), t('providers.add')], '#/providers/add', 'primary')],
  providers.length ? h('ul.providers', providers.map(one)) : h('div.card', empty(t('providers.none'), linkButton(t('providers.add'), '#/providers/add', 'primary'))))
}

/** One small real request, and what came of it. */
async function test(box, name, model) {
 put(box, h('p.muted', h('span.spin'), ' ', t('test.running', { model: model ?? name })))
 const answer = await api.post(url(name, '/test'), model ? { model } : {}).catch(error => ({ ok: false, model, error: error.message }))
 const { usage = {} } = answer
 put(box, h(`div.notice.${answer.ok ? 'ok' : 'bad'}`, { role: 'status' }, icon(answer.ok ? 'check' : 'warn'), h('div',
  h('strong', t(answer.ok ? 'test.ok' : 'test.failed', { model: answer.model ?? name })), answer.error ? h('p.break', answer.error) : null,
  h('p.hint', [answer.status ? `HTTP ${answer.status}` : '', answer.first ? `${t('col.first')} ${seconds(answer.first)}` : '', answer.duration ? `${t('col.duration')} ${seconds(answer.duration)}` : '',
   ...answer.ok ? [`${t('requests.stream')}: ${answer.streaming}`, `${t('test.tools')}: ${answer.tools}`, t('test.usage', { input: usage.input_tokens ?? '?', output: usage.output_tokens ?? '?' })] : []].filter(Boolean).join(' · ')))))
}

// --- the form

const key = it => it.sign_in ? `@${it.name}` : it.name

async function add(page) {
 const [{ presets }, { providers, base }] = await Promise.all([page.get('/api/provider-presets'), read(page)])
 const wanted = page.params[1]
 if (wanted) {
  const preset = presets.find(it => key(it) === wanted) ?? {}
  const names = providers.map(it => it.name)
  let name = preset.name ?? ''
  for (let n = 2; names.includes(name); n += 1) name = `${preset.name}-${n}`
  const start = { name, base_url: preset.base_url ?? '', api_key: preset.key_env ? `$${preset.key_env}` : '', models: [...preset.models ?? []], as_default: !providers.length }
  page.draw([preset.name ? t('providers.add.one', { name: preset.name }) : t('providers.other'), preset.summary ?? t('providers.other.text')], form(page, base, start, { preset }))
  return
 }
 const grid = h('ul.presets')
 const draw = text => put(grid, presets.filter(it => `${it.name} ${it.summary}`.toLowerCase().includes(text.toLowerCase())).map(it => h('li', h('a.preset', { href: `#/providers/add/${enc(key(it))}` },
  h('strong', it.name), h('span', it.summary), h('small', it.sign_in ? t('providers.sign-in') : it.host)))),
 h('li', h('a.preset.other', { href: '#/providers/add/other' }, h('strong', t('providers.other')), h('span', t('providers.other.text')))))
 page.draw([t('providers.add'), t('providers.add.lead')], h('div.card', field(t('providers.search'), input('', draw, { type: 'search' })), grid))
 draw('')
}

/** The fields of an entry, new (`preset`) or there (`provider`), with the host that gets the key beside it. */
function form(page, base, start, { preset, provider, found }) {
 const values = clone(start)
 const changed = () => Object.fromEntries(Object.entries(values).filter(([key, value]) => dump(value) !== dump(start[key])))
 let done = false
 guard(() => !done && Object.keys(changed()).length > 0, page.signal)
 base.replaced = () => { done = true; page.again() }
 const entry = provider?.entry ?? {}
 const path = key => provider ? `${provider.where}.${key}` : key
 const host = h('strong.host')
 const showHost = () => { try { host.textContent = new URL(values.base_url || provider.base_url).host } catch { host.textContent = values.base_url || '…' } }
 showHost()
 const problems = h('div.problems', { role: 'alert', tabindex: '-1' })
 const plain = (entry.models ?? []).every(it => typeof it === 'string')
 const models = h('div')
 const drawModels = () => put(models, chips(values.models, value => { values.models = value }, { label: t('providers.models'), suggestions: preset ? preset.models ?? [] : provider.models.map(it => it.id) }))
 drawModels()
 if (found) found.tick = (id, on) => { values.models = on ? [...values.models, id] : values.models.filter(it => it !== id); drawModels() }
 if (found) Object.assign(found, { plain, has: id => values.models.includes(id) })
 const raw = h('a', { href: '#/raw' }, t('nav.raw'))
 const send = async () => {
  const body = changed()
  const mask = key => key && !key.startsWith('$') ? '********' : key
  const mine = Object.entries(provider ? body : values).filter(([key]) => key !== 'as_default').map(([key, value]) => ({ path: ['Providers', provider?.index ?? values.name, key === 'base_url' ? 'api_base_url' : key], value: key === 'api_key' ? mask(value) : value }))
  if (provider) {
   if (!mine.length) return toast(t('nothing-changed'))
   if (!await guarded(base, mine, more => api.patch(url(provider.name), { ...more, ...body, ...body.base_url === '' ? { base_url: null } : {} }))) return
   done = true
   return body.name ? page.go(`#/providers/${enc(body.name)}`) : page.again()
  }
  const { name, api_key, base_url, ...rest } = values
  let made
  const given = { ...rest, name: name.trim(), ...preset.sign_in ? { sign_in: preset.sign_in } : preset.name ? { preset: preset.name } : {}, ...api_key ? { api_key } : {}, ...base_url !== (preset.base_url ?? '') ? { base_url } : {} }
  if (await guarded(base, mine, async ({ version }) => { made = await api.post('/api/providers', { version, ...given }); return made })) {
   done = true
   page.go(`#/providers/${enc(made.name)}`)
  }
 }
 const signIn = preset?.sign_in ?? (entry.auth_type === 'oauth' && entry.oauth_provider)
 return h('form.card.narrow', { label: t('provider.entry'), onsubmit: event => {
  event.preventDefault()
  showProblems(page, problems, [])
  doing(() => send().catch(error => showProblems(page, problems, error.problems?.length ? error.problems : [{ path: '', message: error.message }])))({ currentTarget: event.submitter })
 } },
 provider ? h('h2', t('provider.entry')) : null,
 field(t('provider.name'), input(values.name, value => { values.name = value }, { required: true }), { hint: t('provider.name.hint'), path: path('name') }),
 field(t('provider.url'), input(values.base_url, value => { values.base_url = value; showHost() }, { required: !provider && !preset.name, placeholder: provider?.base_url }), { hint: t(preset && !preset.name ? 'provider.url.hint' : 'provider.url.preset'), path: path('api_base_url') }),
 signIn ? h('p.notice.info', t('providers.sign-in.text'), ' ', h('a', { href: '#/signin' }, t('nav.signin')))
  : Array.isArray(entry.api_key) ? h('p.notice.info', t('provider.keys', { n: entry.api_key.length }), ' ', raw)
   : h('div.key-box', field(t('provider.key'), secret(values.api_key, value => { values.api_key = value }), { hint: preset?.key_env ? t('provider.key.env', { name: `$${preset.key_env}` }) : t('provider.key.hint'), path: path('api_key') }), h('p.goes', icon('right'), t('provider.goes'), ' ', host)),
 plain ? field(t('providers.models'), models, { hint: t('provider.models.hint'), path: path('models') }) : h('p.notice.info', t('provider.models.tables'), ' ', raw),
 h('div.field', provider ? toggle(t('provider.enabled'), values.enabled, value => { values.enabled = value }) : toggle(t('provider.default'), values.as_default, value => { values.as_default = value })),
 problems, h('div.buttons', provider ? button(t('remove'), doing(() => remove(page, base, provider, () => { done = true })), 'danger') : linkButton(t('cancel'), '#/providers'), h('button.primary', { type: 'submit' }, t(provider ? 'save' : 'providers.save'))))
}

async function remove(page, base, { name, index }, leave) {
 if (!await confirm(t('provider.remove', { name }), t('provider.remove.text'), t('remove'))) return
 const mine = [{ op: 'delete', path: ['Providers', index] }]
 const send = drop => guarded(base, mine, ({ version }) => api.delete(url(name), { version, ...drop }))
 const gone = await send({}).catch(async error => {
  if (!error.body?.error?.drop_routes) throw error
  return await confirm(t('provider.remove', { name }), t('provider.remove.routes', { paths: error.problems.map(it => it.path).join(', ') }), t('remove')) && send({ drop_routes: true })
 })
 if (gone) { leave(); page.go('#/providers') }
}

async function edit(page, name) {
 const { providers, base } = await read(page)
 const provider = providers.find(it => it.name === name)
 if (!provider) return void page.draw([name, t('providers.gone')], linkButton(t('nav.providers'), '#/providers'))
 const { entry } = provider
 const found = {}
 const offered = h('div', LIVE)
 const result = h('div', LIVE)
 let tried = provider.models[0]?.id
 const start = { name, base_url: entry.api_base_url ?? '', api_key: typeof entry.api_key === 'string' ? entry.api_key : '', models: [...entry.models ?? []], enabled: provider.enabled }
 page.draw([name, h('span.row.wrap', keyBadge(provider), provider.dialect ? badge(provider.dialect) : null, provider.preset ? badge(t('provider.preset', { name: provider.preset })) : null, cooling(provider))],
  provider.warnings.map(warning => h('p.notice.warn', warning)),
  h('div.two.even', form(page, base, start, { provider, found }), h('div',
   card(t('providers.test'), [], h('p.hint', t('test.lead')), h('div.row', choose(tried, provider.models.map(it => [it.id, it.title]), value => { tried = value }, { label: t('filter.model') }),
    button(t('test.run'), doing(() => test(result, name, tried)), 'primary', { disabled: !provider.enabled })), result),
   card(t('provider.discover'), button(t('provider.discover.run'), doing(async () => {
    const { models } = await api.post(url(name, '/discover'))
    put(offered, models.length ? h('div.checks', { role: 'group', label: t('provider.discover') }, models.map(model => h('label', h('input', { type: 'checkbox', checked: found.has(model.id), disabled: !found.plain, onchange: event => found.tick(model.id, event.target.checked) }), ' ', model.title))) : h('p.muted', t('provider.discover.none')), h('p.hint', t('provider.discover.save')))
   }), 'small', { disabled: !provider.enabled }), h('p.hint', t('provider.discover.lead')), offered),
   card(t('providers.models'), [], provider.models.length ? h('ul.facts-list', provider.models.map(model => h('li', h('strong.break', model.title), h('p.hint', [model.window ? t('model.window', { n: number(model.window) }) : '', model.output ? t('model.output', { n: number(model.output) }) : '',
    model.prices?.input === null || !model.prices ? t('model.no-price') : t('model.price', { input: money(model.prices.input), output: money(model.prices.output) }), ...model.levels ?? []].filter(Boolean).join(' · '))))) : h('p.muted', t('models.none'))),
   provider.auth ? card(t('accounts.title'), linkButton(t('nav.signin'), '#/signin', 'small'), provider.auth.accounts.length ? h('ul.facts-list', provider.auth.accounts.map(account)) : h('p.muted', t('accounts.none'))) : null,
   h('p', h('a', { href: `#/transformers/${enc(name)}` }, t('provider.transformers'))))))
}

const date = at => new Date(at * 1000).toLocaleString()
const STATES = { active: 'ok', refreshable: 'ok' }

/** An account with its state and what the vendor says is used up. */
export const account = it => h('li', h('div.row.between', h('strong.break', it.label || it.account), badge(known(`account.${it.state}`, it.state), STATES[it.state] ?? 'warn')),
 it.reason ? h('p.hint', it.reason) : null, it.cooling_until ? h('p.hint', t('accounts.cooling', { time: date(it.cooling_until) })) : it.expires ? h('p.hint', t('accounts.expires', { time: date(it.expires) })) : null,
 it.windows.map(({ name, used, resets }) => [h('p.hint', `${name}: ${Math.round(used * 100)} %`, resets ? ` · ${t('accounts.resets', { time: date(resets) })}` : ''), h('progress', { max: 1, value: used, label: name })]))
