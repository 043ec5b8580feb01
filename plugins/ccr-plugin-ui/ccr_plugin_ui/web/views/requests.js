// Requests: the list, one of them with everything that is known, and the same again on another model.
import { api, area, badge, button, card, choose, code, combo, copy, doing, dump, empty, enc, facts, failed, failure, field, h, icon, json, known, linkButton, modelOptions, moment, money, number, poll, put, query, seconds, short, size, t, table, tile, toast, toggle, waterfall } from '../kit.js'
import { Live, route, stateBadge, total } from './live.js'

const FILTERS = ['status', 'provider', 'model', 'scenario', 'since', 'session', 'project', 'agent']

export default page => page.params[0] ? (page.params[1] === 'again' ? again(page) : detail(page)) : list(page)

async function list(page) {
 const filters = Object.fromEntries(FILTERS.map(name => [name, page.query.get(name) ?? '']))
 const box = h('div')
 const live = new Live(box, { filters, limit: 50, signal: page.signal, caption: t('nav.requests') })
 const older = button(t('requests.older'), doing(() => live.older()))
 const [{ providers }, { models }, { scenarios }] = await Promise.all(['/api/providers', '/api/models', '/api/router'].map(page.get))
 const apply = () => page.go(`#/requests${query(filters)}`)
 const pick = (name, options) => field(t(`filter.${name}`), choose(filters[name], [['', t('filter.all')], ...options], value => { filters[name] = value; apply() }))
 const text = (name, suggestions) => field(t(`filter.${name}`), combo(filters[name], suggestions.map(value => ({ value })), value => { filters[name] = value }, { onchange: apply }))
 page.draw([t('nav.requests'), t('requests.lead'), toggle(t('requests.follow'), true, on => { live.follow = on })],
  h('form.filters', { label: t('filter.title'), onsubmit: event => { event.preventDefault(); apply() } },
   pick('status', ['ok', 'error', 'running'].map(it => [it, t(`filter.status.${it}`)])), pick('provider', [...new Set([...providers.map(it => it.name), filters.provider])].filter(Boolean)),
   text('model', [...new Set(models.map(it => it.model))]), pick('scenario', [...scenarios.map(it => it.key), 'agentTypes'].map(it => [it, known(`scenario.${it}`, it)])), pick('since', ['15m', '1h', '24h', '7d', '30d'].map(it => [it, t(`filter.since.${it}`)])),
   h('details', { open: Boolean(filters.session || filters.project || filters.agent) }, h('summary', t('filter.more')), h('div.filters', text('session', []), text('project', []), text('agent', ['main']))),
   FILTERS.some(name => filters[name]) ? linkButton(t('filter.clear'), '#/requests', 'small') : null),
  h('div.card', box), h('div.buttons', older))
 live.onrows = () => { older.hidden = !live.before }
 await live.start()
}

// --- one request

async function detail(page) {
 const path = `/api/history/requests/${enc(page.params[0])}`
 let shown, request
 const next = async () => {
  request = await page.get(path)
  const now = dump(request)
  if (now === shown) return
  shown = now
  const opened = [...page.root.querySelectorAll('details')].map(it => it.open)
  put(page.root, whole(page, request))
  page.root.querySelectorAll('details').forEach((it, place) => { it.open = opened[place] ?? false })
 }
 await next()
 poll(async () => { if (request.state === 'running') await next() }, 1000, page.signal)
}

function whole(page, request) {
 const { tokens = {}, bodies = [] } = request
 const body = bodies.find(it => it.kind === 'request')
 const link = (name, value, text = value) => value ? h('a', { href: `#/requests${query({ [name]: value })}` }, text) : '–'
 return [
  page.head(request.model ? `${request.provider} / ${request.model}` : request.requested ?? request.id, h('span.row.wrap', stateBadge(request), moment(request.at), code(request.id)),
   button([icon('copy'), t('requests.curl')], () => copy(curl(request, body))), linkButton([icon('play'), t('requests.again')], `#/requests/${enc(request.id)}/again`)),
  request.error ? h('div.notice.bad', { role: 'alert' }, icon('warn'), h('div', h('strong', request.error.kind), h('p', request.error.message))) : null,
  h('div.tiles', { role: 'list' }, tile(t('col.first'), seconds(request.first)), tile(t('col.duration'), seconds(request.duration)), tile(t('tile.speed'), number(request.tokens_per_second)),
   tile(t('tokens.in'), short(total(tokens))), tile(t('tokens.out'), short(tokens.output)), tile(t('col.cost'), request.state === 'running' ? '–' : money(request.cost))),
  card(t('requests.timeline'), [], timeline(request)),
  h('div.two.even',
   card(t('requests.rules'), [], request.why ? h('p', t('requests.chosen'), ' ', h('strong', request.rule ?? ''), ': ', request.why) : null, rules(request.explanation ?? [])),
   card(t('requests.facts'), [], facts({
    [t('requests.requested')]: request.requested, [t('col.scenario')]: link('scenario', request.scenario, request.scenario && known(`scenario.${request.scenario}`, request.scenario)), [t('filter.session')]: link('session', request.session), [t('filter.project')]: link('project', request.project),
    [t('filter.agent')]: request.agent_type || request.agent_id ? link('agent', request.agent_id ?? request.agent_type, request.agent_type ?? request.agent_id) : t('requests.main'),
    [t('requests.class')]: request.class, [t('requests.stream')]: t(request.stream ? 'yes' : 'no'), [t('requests.size')]: size(request.size ?? 0), [t('requests.stop')]: request.stop_reason,
    ...Object.fromEntries(['cache_read', 'cache_write', 'reasoning', 'counted'].map(it => [t(`tokens.${it}`), short(tokens[it])])),
   }))),
  card(t('requests.tries'), [], request.tries?.length ? table(t('requests.tries'), [
   { title: '#', cell: it => it.attempt }, { title: t('col.route'), cell: route, class: 'main' }, { title: t('col.state'), cell: it => it.status ? badge(it.status, it.status < 400 ? 'ok' : 'bad') : badge(t('requests.no-answer'), it.error ? 'bad' : 'info') },
   { title: t('requests.waited'), cell: it => it.answered ? seconds(it.answered - it.sent) : '–', class: 'num' }, { title: 'URL', cell: it => h('span.break', it.url ?? '') }, { title: t('requests.error'), cell: it => it.error?.message ?? it.error ?? '' },
  ], request.tries) : empty(t('requests.no-tries'))),
  card(t('requests.notes'), [], request.notes?.length ? h('ul.notes', request.notes.map(note => h('li', code(note.key), ' ', typeof note.value === 'string' ? note.value : dump(note.value)))) : h('p.muted', t('requests.no-notes'))),
  card(t('requests.bodies'), [], bodies.length ? bodies.map(it => h('details', h('summary', t(`body.${it.kind}`), ` ${it.attempt ?? ''} `, h('small.muted', size(it.size ?? 0), it.cut ? `, ${t('body.cut')}` : '')), json(pretty(it.content))))
   : h('p.muted', t('requests.no-bodies'), ' ', h('a', { href: '#/settings' }, t('nav.settings')))),
 ]
}

const pretty = text => { try { return dump(JSON.parse(text), null, 2) } catch { return text } }

/** Every rule's answer. */
export const rules = answers => h('ol.rules', answers.map(it => h('li', { data: { state: it.state } },
 h('span.rule', it.rule), badge(t(`rule.${it.state.replace(' ', '-')}`), { decided: 'ok', failed: 'bad' }[it.state]), h('span.why', it.why ?? ''))))

function timeline({ at, first, duration, tries = [], timeline = [] }) {
 const end = duration ?? Math.max(...timeline.map(it => it.offset), 0.001)
 const spans = tries.filter(it => it.sent).map(it => {
  const from = it.sent - at, to = it.answered ? it.answered - at : end
  return { label: `${it.provider},${it.model}`, from, to, text: seconds(to - from), tone: it.status >= 400 || it.error ? 'tone-bad' : 'tone0' }
 })
 if (first != null) spans.push({ label: t('timeline.answer'), from: first, to: end, text: seconds(end - first), tone: 'tone1' })
 return h('div', spans.length ? waterfall(t('requests.timeline'), spans, end) : null,
  h('ol.events', timeline.map(it => h('li', h('span.num', `+${seconds(it.offset)}`), badge(known(`event.${it.what}`, it.what), { failed: 'bad', lost: 'warn', finished: 'ok' }[it.what]), h('span.break', it.text ?? '')))))
}

function curl(request, body) {
 const quoted = text => `'${String(text).replace(/'/g, `'\\''`)}'`
 const content = body && !body.cut ? body.content : dump({ model: request.model ? `${request.provider},${request.model}` : request.requested, max_tokens: 1024, stream: request.stream, messages: [{ role: 'user', content: 'hello' }] })
 return [`curl ${quoted(location.origin + request.path)}`, "-H 'content-type: application/json'", "-H 'anthropic-version: 2023-06-01'", '-H "x-api-key: $ANTHROPIC_AUTH_TOKEN"', `--data ${quoted(content)}`].join(' \\\n  ')
}

// --- again, and compared

async function again(page) {
 const [request, { models }] = await Promise.all([page.get(`/api/history/requests/${enc(page.params[0])}`), page.get('/api/models')])
 const body = request.bodies?.find(it => it.kind === 'request' && !it.cut)
 const answer = request.bodies?.find(it => it.kind === 'answer')
 let text = body ? pretty(body.content) : ''
 const chosen = [request.model ? `${request.provider},${request.model}` : '', '']
 const before = h('section.card', { label: t('again.before') }, h('h2', t('again.before')), h('p', route(request)), measures({ ...request, input: total(request.tokens), output: request.tokens?.output }), answer ? h('div.answer', said(answer.content)) : h('p.muted', t('again.no-answer')))
 const results = h('div.compare', before)
 const run = button([icon('play'), t('again.run')], doing(async () => {
  const parsed = parse(text)
  const wanted = chosen.filter(Boolean)
  if (!wanted.length) toast(t('again.choose'), 'bad')
  if (!parsed || !wanted.length) return
  const boxes = wanted.map(model => h('section.card', { label: model }, h('h2', model)))
  put(results, before, boxes)
  await Promise.all(wanted.map((model, place) => one(page, boxes[place], { max_tokens: 1024, ...parsed, model, stream: true })))
 }), 'primary')
 page.draw([t('again.title'), h('span', t('again.lead'), ' ', h('a', { href: `#/requests/${enc(request.id)}` }, request.id))],
  h('div.card', h('div.two.even', chosen.map((value, place) => field(t('again.model', { n: place + 1 }), combo(value, modelOptions(models), next => { chosen[place] = next }, { placeholder: 'provider,model' })))),
   body ? null : h('p.notice.warn', t('again.no-body')),
   field(t('again.body'), area(text, value => { text = value }, { class: 'mono', rows: 9, placeholder: '{"messages": [{"role": "user", "content": "…"}]}' }), { hint: t('again.real') }), h('div.buttons', run)), results)
}

/** JSON that somebody wrote, or null after telling why it is none. */
export function parse(text) {
 try { return JSON.parse(text) } catch (error) { toast(t('again.not-json', { message: error.message }), 'bad') }
 return null
}

const words = event => event.delta?.text ?? event.delta?.partial_json ?? (event.content_block?.name ? `\n[${event.content_block.name}] ` : event.error ? `\n${event.error.message}` : '')
const events = lines => lines.filter(line => line.startsWith('data:')).flatMap(line => { try { return [JSON.parse(line.slice(5))] } catch { return [] } })

/** The words of an answer that was kept: a stream, or one message. */
const said = text => {
 try { return JSON.parse(text).content.map(it => it.text ?? dump(it)).join('\n') } catch { return events(text.split('\n')).map(words).join('') }
}

const measures = it => facts({ [t('col.first')]: seconds(it.first), [t('col.duration')]: seconds(it.duration), [t('tokens.in')]: short(it.input), [t('tokens.out')]: short(it.output), [t('col.cost')]: it.cost === undefined ? '–' : money(it.cost) })

async function one(page, box, body) {
 const start = performance.now()
 const seen = {}
 const figures = h('div')
 const text = h('div.answer')
 const show = (...more) => put(figures, measures(Object.assign(seen, { duration: seen.done ?? (performance.now() - start) / 1000 })), more)
 box.append(figures, text)
 const answer = await api.raw('POST', '/api/try/messages', body, { signal: page.signal })
 if (!answer.ok) return box.append(failure(await failed(answer)))
 const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
 for (let rest = ''; ;) {
  const { done, value } = await reader.read()
  if (done) break
  const lines = (rest + value).split('\n')
  rest = lines.pop()
  for (const event of events(lines)) {
   seen.first ??= (performance.now() - start) / 1000
   const usage = event.message?.usage ?? event.usage ?? {}
   if (usage.input_tokens != null) seen.input = usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0)
   seen.output = usage.output_tokens || seen.output
   text.append(words(event))
  }
  show()
 }
 seen.done = (performance.now() - start) / 1000
 show()
 const id = answer.headers.get('request-id')
 for (let turn = 0; id && turn < 5 && !page.signal.aborted; turn += 1) {
  await new Promise(resolve => setTimeout(resolve, 500))
  const row = await page.get(`/api/history/requests/${enc(id)}`).catch(() => null)
  if (!row || row.state === 'running') continue
  seen.cost = row.cost
  show(h('a', { href: `#/requests/${enc(id)}` }, t('again.details')))
  break
 }
}
