// Routing: which model for which kind of request, what happens on failure, and trying it.
import { api, area, badge, busy, button, card, choose, clone, code, combo, dialog, doing, Draft, dump, field, h, input, json, jsonArea, known, LIVE, modelOptions, number, numeric, optionsForm, put, routePicker, same, saveBar, sortable, t, toast, toggle } from '../kit.js'
import { parse, rules as answers } from './requests.js'

/** Words in names of models by which a route is filled in, the best first. */
const KEYWORDS = {
 default: [/opus/, /codex/, /sonnet/, /coder/, /glm|kimi|qwen/, /pro\b/, /chat|large/],
 background: [/haiku/, /mini|nano|lite/, /flash|fast|small|air|turbo/],
 think: [/think|reason|\bo\d\b|r1/, /opus/, /pro\b|max/],
 longContext: [/gemini.*pro/, /1m|long/, /pro\b|sonnet/],
 webSearch: [/online|search|sonar/, /gemini|gpt/],
 image: [/vision|vl\b|omni|4o/, /gemini|gpt|claude|sonnet|opus/],
}

export default async function (page) {
 const [router, models, draft] = await Promise.all([page.get('/api/router'), page.get('/api/models'), Draft.read(page)])
 const root = () => draft.key('Router', 'router')
 const at = key => draft.get([root(), key])
 const set = (key, value) => draft.set([root(), key], value === '' ? undefined : value)
 const list = models.models
 const { scenarios, tables } = router
 const routeKeys = new Set([...scenarios, ...tables].map(it => it.key))
 const title = it => known(`scenario.${it.key}`, it.key)

 const about = it => ({ hint: [it.active ? '' : t('routing.inactive'), it.summary].join(' '), path: `${root()}.${it.key}` })
 const routes = () => h('div.routes', scenarios.map(it => field(title(it), routePicker(at(it.key) ?? '', list, next => set(it.key, next), title(it), { 'data-key': it.key, placeholder: it.key === 'default' ? 'provider,model' : t('routing.unset') }), about(it))),
  tables.map(it => field(title(it), pairs(at(it.key) ?? {}, list, next => set(it.key, Object.keys(next).length ? next : undefined)), about(it))))

 const order = () => {
  const now = [...(at('rules') ?? router.default_order ?? router.order)]
  const byName = new Map(router.rules.map(it => [it.name, it]))
  const rest = router.rules.filter(it => !now.includes(it.name))
  const before = now.length
  const tell = () => {
   set('rules', same(now, router.default_order) ? undefined : [...now])
   if (now.length !== before) redraw('rules')
  }
  return h('div', h('p.hint', t('routing.rules.lead')), sortable(now, name => {
   const rule = byName.get(name)
   const options = (rule?.options ?? []).filter(option => !routeKeys.has(option.name) && option.type !== 'route')
   const own = Object.fromEntries(options.filter(option => at(option.name) !== undefined).map(option => [option.name, at(option.name)]))
   return h('div', h('strong', name), ' ', rule?.plugin ? h('small.muted', rule.plugin) : badge(t('routing.rules.unknown'), 'bad'), h('p.hint', rule?.summary ?? ''),
    options.length ? h('details', { open: Object.keys(own).length > 0 }, h('summary', t('routing.rules.options')), optionsForm(options, own, values => { for (const option of options) set(option.name, values[option.name]) }, { path: root(), models: list })) : null)
  }, tell, { label: t('routing.rules') }), rest.length ? h('div.row.wrap', h('span.hint', t('routing.rules.left-out')), rest.map(it => button(`+ ${it.name}`, () => { now.push(it.name); tell() }, 'small', { title: it.summary }))) : null,
  at('rules') ? button(t('routing.rules.default'), () => { set('rules', undefined); redraw('rules') }, 'small') : null)
 }

 const fallback = () => h('div', h('p.hint', t('routing.fallback.lead')), scenarios.map(it => {
  const now = [...(draft.get(['fallback', it.key]) ?? [])]
  const tell = () => {
   const all = { ...draft.get(['fallback']) }
   if (now.length) all[it.key] = [...now]
   else delete all[it.key]
   draft.set(['fallback'], Object.keys(all).length ? all : undefined)
  }
  return h('div.sub', h('h3', title(it), it.key !== 'default' && !now.length ? h('small.muted', ' ', t('routing.fallback.inherits')) : null),
   now.length ? sortable(now, (route, place) => routePicker(route, list, next => { now[place] = next; tell() }, `${title(it)} ${place + 1}`), () => tell(), { label: title(it), name: route => route || t('routing.fallback.new') }) : null,
   button(`+ ${t('routing.fallback.add')}`, () => { now.push(''); draft.set(['fallback'], { ...draft.get(['fallback']), [it.key]: [...now] }); redraw('fallback') }, 'small', { label: `${t('routing.fallback.add')}: ${title(it)}` }))
 }))

 const projects = () => (router.projects ?? []).length ? h('ul.facts-list', router.projects.map(it => h('li', h('div.row.between', h('strong.break', it.path), badge(t(`projects.${it.state}`), { trusted: 'ok', own: 'ok' }[it.state] ?? 'warn')), h('p.hint.break', it.file), json(it.router)))) : h('p.muted', t('projects.none'))

 const tests = () => {
  const now = clone(at('tests') ?? [])
  const results = h('div', LIVE)
  return h('div', h('p.hint', t('tests.lead')), now.length ? sortable(now, (test, place) => h('div', h('strong', test.name ?? `${t('tests.test')} ${place + 1}`), h('p.hint.break', code(dump(test.request)), ' → ', code(typeof test.expect === 'string' ? test.expect : dump(test.expect)))), next => set('tests', next.length ? [...next] : undefined), { label: t('tests.title'), name: test => test.name ?? t('tests.test') }) : h('p.muted', t('tests.none')),
   results, h('div.buttons', button(t('tests.add'), () => newTest({}), 'small'), button(t('tests.run'), doing(async () => {
    const answer = await api.post('/api/router/tests', { tests: at('tests') ?? [] })
    put(results, h('ul.facts-list', answer.results.map(it => h('li', h('div.row.between', h('strong', it.name), badge(it.ok ? t('tests.ok') : t('tests.failed'), it.ok ? 'ok' : 'bad')),
     it.wrong.map(wrong => h('p', wrong)), h('p.hint', `${it.route ?? ''} ${it.rule ?? ''}: ${it.why}`)))))
   }), 'small', { disabled: !now.length })))
 }
 const text = value => typeof value === 'string' ? value : dump(value)
 const newTest = given => dialog(t('tests.add'), finish => {
  const test = { name: '', request: {}, expect: '', ...given }
  return h('form', { onsubmit: event => { event.preventDefault(); finish(test) } },
   field(t('provider.name'), input(test.name, value => { test.name = value }, { required: true })),
   field(t('tests.request'), jsonArea(test.request, value => { test.request = value ?? {} }, { rows: 6 }), { hint: t('tests.request.hint') }),
   field(t('tests.expect'), routePicker(typeof test.expect === 'string' ? test.expect : '', list, value => { test.expect = value }, t('tests.expect'))),
   h('div.buttons', button(t('cancel'), () => finish(null)), h('button.primary', { type: 'submit' }, t('add'))))
 }, { wide: true }).then(test => { if (test) { set('tests', [...(at('tests') ?? []), test]); redraw('tests') } })

 const sections = { routes: [t('routing.routes'), routes, () => [quickFill()]], try: [t('try.title'), () => tryIt(page, list, draft, newTest)], fallback: [t('routing.fallback'), fallback], rules: [t('routing.rules'), order], tests: [t('tests.title'), tests], projects: [t('projects.title'), projects] }
 const boxes = {}
 const redraw = name => put(boxes[name], sections[name][1]())
 const quickFill = () => {
  const providers = [...new Set(list.map(it => it.provider))]
  return h('label.pick', h('span', t('routing.fill')), h('select', { onchange: event => {
   const chosen = list.filter(it => it.provider === event.target.value)
   if (!chosen.length) return
   for (const [key, words] of Object.entries(KEYWORDS)) {
    if (!routeKeys.has(key)) continue
    const found = words.map(word => chosen.find(it => word.test(it.model.toLowerCase()))).find(Boolean) ?? (key === 'default' ? chosen[0] : null)
    if (found) set(key, found.value)
   }
   event.target.value = ''
   redraw('routes')
   toast(t('routing.filled'))
  } }, h('option', { value: '' }, t('routing.fill.choose')), providers.map(it => h('option', { value: it }, it))))
 }
 const draw = () => page.draw([t('nav.routing'), t('routing.lead')],
  list.length ? null : h('p.notice.warn', t('routing.no-models'), ' ', h('a', { href: '#/providers/add' }, t('providers.add'))),
  Object.entries(sections).map(([name, [title, content, actions]]) => { boxes[name] = h('div', content()); return card(title, actions?.(), boxes[name]) }), saveBar(draft, page, draw))
 draw()
}

/** Names with a route each: Router.agentTypes. */
function pairs(values, models, onchange) {
 const rows = Object.entries(values)
 const box = h('div.pairs')
 const tell = () => onchange(Object.fromEntries(rows.filter(([name]) => name)))
 const draw = () => put(box, rows.map((row, place) => h('div.row.pair', input(row[0], value => { row[0] = value.trim(); tell() }, { label: t('routing.agent-type'), placeholder: 'Explore', list: 'agent-types' }),
  routePicker(row[1], models, value => { row[1] = value; tell() }, row[0] || t('routing.agent-type')), button(t('remove'), () => { rows.splice(place, 1); tell(); draw() }, 'small'))), button(`+ ${t('routing.agent-type')}`, () => { rows.push(['', '']); draw() }, 'small'))
 draw()
 return box
}

/** Ask the running router where a described or pasted request would go. Nothing is sent. */
function tryIt(page, models, draft, newTest) {
 const describe = {}
 const put1 = (key, value) => { if (value === '' || value === undefined || value === false) delete describe[key]; else describe[key] = value }
 let pasted = ''
 const result = h('div', LIVE)
 const run = async what => {
  const answer = await api.post('/api/router/explain', what)
  put(result, explained(answer), answer.route ? button(t('try.as-test'), () => newTest({ name: answer.why ?? '', request: what.describe ?? what.body, expect: routeText(answer.route) }), 'small') : null)
 }
 return h('div', h('p.hint', t('try.lead')),
  h('form.try', { onsubmit: event => { event.preventDefault(); busy(event.submitter, () => run({ describe })) } },
   field(t('try.text'), area('', value => put1('text', value), { rows: 2 })),
   field(t('try.model'), combo('', [...modelOptions(models), { value: 'claude-opus-4-5' }, { value: 'claude-sonnet-4-5' }, { value: 'claude-haiku-4-5' }], value => put1('model', value), { placeholder: 'claude-sonnet-4-5' })),
   field(t('try.tokens'), numeric('', value => put1('tokens', value))),
   field(t('try.thinking'), choose('', [['', '–'], ['adaptive', t('try.thinking.adaptive')], ['disabled', t('try.thinking.disabled')], ['10000', t('try.thinking.budget')]], value => put1('thinking', value === '10000' ? 10000 : value))),
   field(t('try.effort'), choose('', [['', '–'], 'low', 'medium', 'high', 'xhigh', 'max'], value => put1('effort', value))),
   field(t('try.agent'), input('', value => put1('agent', value), { placeholder: 'Explore' })),
   h('div.checks.inline', [['plan', t('try.plan')], ['image', t('try.image')], ['web_search', t('try.web')]].map(([key, label]) => toggle(label, false, value => put1(key, value)))),
   h('div.buttons', h('button.primary', { type: 'submit' }, t('try.run')))),
  h('details', h('summary', t('try.paste')), field(t('again.body'), area('', value => { pasted = value }, { rows: 6, class: 'mono', placeholder: '{"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hello"}]}' })),
   button(t('try.run'), doing(async () => {
    const body = parse(pasted)
    if (body) await run({ body })
   }))), result)
}

const routeText = route => typeof route === 'string' ? route : [route.provider, route.model, route.level].filter(Boolean).join(',')

function explained(answer) {
 return h('div.explained', answer.route ? h('div.notice.ok', h('div', h('strong.break', routeText(answer.route)), h('p', [answer.rule, answer.why].filter(Boolean).join(': '), answer.tokens ? ` · ${t('try.count', { n: number(answer.tokens) })}` : '')))
  : h('div.notice.bad', answer.error ?? t('try.none')), answers(answer.rules ?? []),
 answer.fallbacks?.length ? h('p', t('try.fallbacks'), ' ', answer.fallbacks.map(it => [code(text(it)), ' '])) : null,
 answer.steps?.length ? h('details', h('summary', t('try.steps', { n: answer.steps.length })), h('ul', answer.steps.map(step => h('li', h('strong', step.name), ` (${step.where})`, h('ul', (step.changed ?? []).map(it => h('li', code(it.path), ': ', text(it.before), ' → ', text(it.after)))))))) : null,
 answer.body ? h('details', h('summary', t('try.sent')), code(answer.url ?? ''), json(answer.body)) : null)
}
const text = value => typeof value === 'string' ? value : dump(value)
