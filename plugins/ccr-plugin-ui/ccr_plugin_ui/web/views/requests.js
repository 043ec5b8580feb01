// Requests: the list, one of them with everything that is known, and the same again on another model.
import { api, failed, query } from '../api.js'
import { badge, button, busy, card, code, copy, empty, failure, h, icon, json, linkButton, moment, money, number, poll, put, seconds, short, size, table, toast } from '../dom.js'
import { waterfall } from '../charts.js'
import { area, choose, combo, field, input, modelOptions, toggle } from '../forms.js'
import { known, t } from '../i18n.js'
import { Live, route, stateBadge, total } from './live.js'

const FILTERS = ['status', 'provider', 'model', 'scenario', 'session', 'project', 'agent', 'since']

export default page => page.params[0] ? (page.params[1] === 'again' ? again(page) : detail(page)) : list(page)

async function list(page) {
  const filters = Object.fromEntries(FILTERS.map(name => [name, page.query.get(name) ?? '']))
  const box = h('div')
  const older = button(t('requests.older'), event => busy(event.target, () => live.older()))
  const [providers, models, router] = await Promise.all(['/api/providers', '/api/models', '/api/router'].map(path => api.get(path, { signal: page.signal }).catch(() => ({}))))
  const apply = () => page.go(`#/requests${query(filters)}`)
  const pick = (name, options) => field(t(`filter.${name}`), choose(filters[name], [['', t('filter.all')], ...options], value => { filters[name] = value; apply() }))
  const text = (name, suggestions) => {
    const box = combo(filters[name], suggestions.map(value => ({ value })), value => { filters[name] = value })
    box.addEventListener('change', apply)
    return field(t(`filter.${name}`), box)
  }
  const more = ['session', 'project', 'agent'].some(name => filters[name])
  let live
  const following = toggle(t('requests.follow'), true, on => { live.follow = on })
  put(page.root, page.head(t('nav.requests'), t('requests.lead'), following),
    h('form.filters', { 'aria-label': t('filter.title'), onsubmit: event => { event.preventDefault(); apply() } },
      pick('status', ['ok', 'error', 'running'].map(each => [each, t(`filter.status.${each}`)])),
      pick('provider', [...new Set([...(providers.providers ?? []).map(each => each.name), ...(filters.provider ? [filters.provider] : [])])]),
      text('model', [...new Set((models.models ?? []).map(each => each.model))]),
      pick('scenario', [...new Set((router.scenarios ?? []).map(each => each.key ?? each.name))].map(each => [each, known(`scenario.${each}`, each)])),
      pick('since', ['15m', '1h', '24h', '7d', '30d'].map(each => [each, t(`filter.since.${each}`)])),
      h('details', { open: more }, h('summary', t('filter.more')), h('div.filters', ['session', 'project', 'agent'].map(name => text(name, name === 'agent' ? ['main'] : [])))),
      FILTERS.some(name => filters[name]) ? linkButton(t('filter.clear'), '#/requests', 'small') : null),
    h('div.card', box), h('div.buttons', older))
  live = new Live(box, { filters, limit: 50, signal: page.signal, caption: t('nav.requests') })
  live.onrows = () => { older.hidden = !live.before }
  const next = live.next.bind(live)
  live.next = () => live.follow === false ? Promise.resolve() : next()
  live.follow = true
  await live.start()
}

// --- one request --------------------------------------------------------------------------------------------------

async function detail(page) {
  const id = page.params[0]
  const path = `/api/history/requests/${encodeURIComponent(id)}`
  let shown = ''
  const draw = request => {
    const now = JSON.stringify(request)
    if (now === shown) return
    shown = now
    const opened = [...page.root.querySelectorAll('details[open]')].map(each => each.dataset.key)
    put(page.root, ...whole(page, request))
    for (const each of page.root.querySelectorAll('details')) if (opened.includes(each.dataset.key)) each.open = true
  }
  let request = await api.get(path, { signal: page.signal })
  draw(request)
  if (request.state === 'running') poll(async () => {
    if (request.state !== 'running') return
    request = await api.get(path, { signal: page.signal })
    draw(request)
  }, 1000, page.signal)
}

function whole(page, request) {
  const body = request.bodies?.find(each => each.kind === 'request')
  const facts = (...rows) => h('dl.facts', rows.filter(Boolean).map(([name, value]) => h('div', h('dt', name), h('dd', value))))
  const link = (name, value, text = value) => value ? h('a', { href: `#/requests${query({ [name]: value })}` }, text) : '–'
  const tokens = request.tokens ?? {}
  return [
    page.head(request.model ? `${request.provider} / ${request.model}` : request.requested ?? request.id, h('span.row', stateBadge(request), h('span', moment(request.at)), code(request.id)),
      button([icon('copy'), t('requests.curl')], () => copy(curl(request, body))), linkButton([icon('play'), t('requests.again')], `#/requests/${encodeURIComponent(request.id)}/again`)),
    request.error ? h('div.notice.bad', { role: 'alert' }, icon('warn'), h('div', h('strong', request.error.kind), h('p', request.error.message))) : null,
    h('div.tiles', { role: 'list' }, tile(t('col.first'), seconds(request.first)), tile(t('col.duration'), request.state === 'running' ? '…' : seconds(request.duration)),
      tile(t('tile.speed'), request.tokens_per_second ? number(request.tokens_per_second) : '–'), tile(t('tokens.in'), short(total(tokens))), tile(t('tokens.out'), short(tokens.output)),
      tile(t('col.cost'), request.state === 'running' ? '–' : money(request.cost))),
    card(t('requests.timeline'), [], timeline(request)),
    h('div.two.even',
      card(t('requests.rules'), [], request.why ? h('p', t('requests.chosen'), ' ', h('strong', request.rule ?? ''), ': ', request.why) : null, rules(request.explanation ?? [])),
      card(t('requests.facts'), [], facts(
        [t('requests.requested'), request.requested ?? '–'], [t('col.scenario'), link('scenario', request.scenario, request.scenario && known(`scenario.${request.scenario}`, request.scenario))],
        [t('filter.session'), link('session', request.session)], [t('filter.project'), link('project', request.project)],
        [t('filter.agent'), request.agent_type || request.agent_id ? link('agent', request.agent_id ?? request.agent_type, request.agent_type ?? request.agent_id) : t('requests.main')],
        [t('requests.class'), request.class ?? '–'], [t('requests.stream'), request.stream ? t('yes') : t('no')], [t('requests.size'), size(request.size ?? 0)], [t('requests.stop'), request.stop_reason ?? '–'],
        [t('tokens.cache-read'), short(tokens.cache_read)], [t('tokens.cache-write'), short(tokens.cache_write)], [t('tokens.reasoning'), short(tokens.reasoning)], [t('tokens.counted'), short(tokens.counted)]))),
    card(t('requests.tries'), [], request.tries?.length ? table(t('requests.tries'), [
      { title: '#', cell: each => each.attempt }, { title: t('col.route'), cell: route, class: 'main' }, { title: t('col.state'), cell: each => each.status ? badge(each.status, each.status < 400 ? 'ok' : 'bad') : badge(t('requests.no-answer'), each.error ? 'bad' : 'info') },
      { title: t('requests.waited'), cell: each => each.answered && each.sent ? seconds(each.answered - each.sent) : '–', class: 'num' }, { title: 'URL', cell: each => h('span.break', each.url ?? '') }, { title: t('requests.error'), cell: each => typeof each.error === 'object' ? each.error?.message ?? '' : each.error ?? '' },
    ], request.tries) : empty(t('requests.no-tries'))),
    card(t('requests.notes'), [], request.notes?.length ? h('ul.notes', request.notes.map(note => h('li', code(note.key), ' ', typeof note.value === 'string' ? note.value : JSON.stringify(note.value)))) : h('p.muted', t('requests.no-notes'))),
    card(t('requests.bodies'), [], request.bodies?.length ? request.bodies.map((each, place) => h('details', { data: { key: `body${place}` } }, h('summary', t(`body.${each.kind}`), each.attempt ? ` ${each.attempt}` : '', ' ', h('small.muted', size(each.size ?? 0), each.cut ? `, ${t('body.cut')}` : '')), json(pretty(each.content))))
      : h('p.muted', t('requests.no-bodies'), ' ', h('a', { href: '#/settings' }, t('nav.settings')))),
  ]
}

const tile = (label, value) => h('div.tile', { role: 'listitem' }, h('div.label', label), h('div.value', value))
const pretty = text => { try { return JSON.stringify(JSON.parse(text), null, 2) } catch { return text } }

export const rules = answers => h('ol.rules', answers.map(answer => h('li', { data: { state: answer.state } },
  h('span.rule', answer.rule ?? answer.name), badge(t(`rule.${answer.state.replace(' ', '-')}`), { decided: 'ok', failed: 'bad' }[answer.state] ?? ''), h('span.why', answer.why ?? ''))))

function timeline(request) {
  const end = request.duration ?? Math.max(...(request.timeline ?? []).map(each => each.offset), 0.001)
  const spans = []
  for (const each of request.tries ?? []) {
    if (!each.sent) continue
    const from = each.sent - request.at, to = each.answered ? each.answered - request.at : end
    spans.push({ label: `${each.provider},${each.model}`, from, to, text: seconds(to - from), tone: each.status >= 400 || each.error ? 'tone-bad' : 'tone0' })
  }
  if (request.first !== null && request.first !== undefined) spans.push({ label: t('timeline.answer'), from: request.first, to: end, text: seconds(end - request.first), tone: 'tone1' })
  return h('div', spans.length ? waterfall(t('requests.timeline'), spans, end) : null,
    h('ol.events', (request.timeline ?? []).map(each => h('li', h('span.num', `+${seconds(each.offset)}`), badge(known(`event.${each.what}`, each.what), { failed: 'bad', lost: 'warn', finished: 'ok' }[each.what] ?? ''), h('span.break', each.text ?? '')))))
}

function curl(request, body) {
  const quoted = text => `'${String(text).replace(/'/g, `'\\''`)}'`
  const content = body && !body.cut ? body.content : JSON.stringify({ model: request.model ? `${request.provider},${request.model}` : request.requested, max_tokens: 1024, stream: Boolean(request.stream), messages: [{ role: 'user', content: 'hello' }] })
  return [`curl ${quoted(`${location.origin}${request.path ?? '/v1/messages'}`)}`, "-H 'content-type: application/json'", "-H 'anthropic-version: 2023-06-01'", '-H "x-api-key: $ANTHROPIC_AUTH_TOKEN"', `--data ${quoted(content)}`].join(' \\\n  ')
}

// --- again, and compared ------------------------------------------------------------------------------------------

async function again(page) {
  const id = page.params[0]
  const [request, models] = await Promise.all([api.get(`/api/history/requests/${encodeURIComponent(id)}`, { signal: page.signal }), api.get('/api/models', { signal: page.signal }).catch(() => ({ models: [] }))])
  const body = request.bodies?.find(each => each.kind === 'request')
  const kept = body && !body.cut
  let text = kept ? pretty(body.content) : ''
  const chosen = [request.model ? `${request.provider},${request.model}` : '', '']
  const results = h('div.compare')
  const run = button([icon('play'), t('again.run')], event => busy(event.currentTarget, async () => {
    let parsed
    try { parsed = JSON.parse(text) } catch (error) { return toast(t('again.not-json', { message: error.message }), 'bad') }
    const wanted = chosen.filter(Boolean)
    if (!wanted.length) return toast(t('again.choose'), 'bad')
    put(results, original(request), wanted.map(() => h('section.card')))
    await Promise.all(wanted.map((model, place) => one(page, results.children[place + 1], model, parsed)))
  }), 'primary')
  put(page.root, page.head(t('again.title'), h('span', t('again.lead'), ' ', h('a', { href: `#/requests/${encodeURIComponent(id)}` }, request.id))),
    h('div.card', h('div.two.even', chosen.map((value, place) => field(t('again.model', { n: place + 1 }), combo(value, modelOptions(models.models), next => { chosen[place] = next }, { placeholder: 'provider,model' })))),
      kept ? null : h('p.notice.warn', t('again.no-body')),
      field(t('again.body'), area(text, value => { text = value }, { class: 'mono', rows: kept ? 10 : 8, placeholder: '{"max_tokens": 1024, "messages": [{"role": "user", "content": "…"}]}' }), { hint: t('again.real') }), h('div.buttons', run)),
    results)
  put(results, original(request))
}

const answerText = text => {
  const events = text.split('\n').filter(line => line.startsWith('data:')).map(line => { try { return JSON.parse(line.slice(5)) } catch { return null } }).filter(Boolean)
  if (!events.length) { try { return (JSON.parse(text).content ?? []).map(block => block.text ?? `[${block.type}${block.name ? ` ${block.name}` : ''}]`).join('\n') } catch { return text } }
  return events.map(event => event.delta?.text ?? (event.content_block?.type === 'tool_use' ? `\n[tool_use ${event.content_block.name}] ` : event.delta?.partial_json ?? '')).join('')
}

function original(request) {
  const answer = request.bodies?.find(each => each.kind === 'answer')
  return h('section.card', { 'aria-label': t('again.before') }, h('h2', t('again.before')), h('p', route(request)), measures({ first: request.first, duration: request.duration, input: total(request.tokens), output: request.tokens?.output, cost: request.cost }),
    answer ? h('div.answer', answerText(answer.content)) : h('p.muted', t('again.no-answer')))
}

const measures = each => h('dl.facts', [[t('col.first'), seconds(each.first)], [t('col.duration'), seconds(each.duration)], [t('tokens.in'), short(each.input)], [t('tokens.out'), short(each.output)], [t('col.cost'), each.cost === undefined ? '–' : money(each.cost)]]
  .map(([name, value]) => h('div', h('dt', name), h('dd', value))))

async function one(page, box, model, body) {
  const start = performance.now()
  const now = () => (performance.now() - start) / 1000
  const seen = { }
  const figures = h('div', measures(seen))
  const text = h('div.answer', { 'aria-live': 'off' })
  put(box, h('h2', model), figures, text)
  box.setAttribute('aria-label', model)
  const answer = await api.raw('POST', '/api/try/messages', { max_tokens: 1024, ...body, model, stream: true }, { signal: page.signal })
  if (!answer.ok) return void put(box, h('h2', model), failure(await failed(answer)))
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    rest += value
    const lines = rest.split('\n')
    rest = lines.pop()
    for (const line of lines) {
      if (!line.startsWith('data:')) continue
      const event = JSON.parse(line.slice(5))
      seen.first ??= now()
      const usage = event.message?.usage ?? event.usage
      if (usage) {
        if (usage.input_tokens !== undefined && usage.input_tokens !== null) seen.input = usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0)
        if (usage.output_tokens) seen.output = usage.output_tokens
      }
      if (event.type === 'error') text.append(h('p.notice.bad', event.error?.message ?? 'error'))
      if (event.delta?.thinking) text.append(h('span.muted', event.delta.thinking))
      if (event.delta?.text) text.append(event.delta.text)
      if (event.content_block?.type === 'tool_use') text.append(`\n[tool_use ${event.content_block.name}] `)
      if (event.delta?.partial_json) text.append(event.delta.partial_json)
    }
    put(figures, measures({ ...seen, duration: now() }))
  }
  seen.duration = now()
  put(figures, measures(seen))
  const made = answer.headers.get('x-ccr-request') ?? answer.headers.get('request-id')
  if (made) for (let turn = 0; turn < 4 && !page.signal.aborted; turn += 1) {
    await new Promise(resolve => setTimeout(resolve, 600))
    const row = await api.get(`/api/history/requests/${encodeURIComponent(made)}`, { signal: page.signal }).catch(() => null)
    if (!row || row.state === 'running') continue
    put(figures, measures({ ...seen, cost: row.cost }), h('a', { href: `#/requests/${encodeURIComponent(made)}` }, t('again.details')))
    break
  }
}
