// Fields: labels that belong to their inputs, pickers with search, lists that can be ordered, forms out of schemas.
import { button, dump, h, icon, iconButton, put, uid } from './dom.js'
import { known, t } from './i18n.js'

/** A control with its label, hint and place for an error. */
export function field(label, control, { hint, path, inline } = {}) {
 const input = control.matches?.('input,select,textarea') ? control : control.querySelector?.('input,select,textarea') ?? control
 input.id ||= uid('field')
 const notes = `${input.id}-notes`
 input.setAttribute('aria-describedby', notes)
 return h(`div.field${inline ? '.inline' : ''}`, { data: path === undefined ? {} : { path } }, h('label', { for: input.id }, label), control,
  h('div', { id: notes }, hint ? h('p.hint', hint) : null, h('p.error')))
}

export const input = (value, onchange, more = {}) =>
 h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', value: value ?? '', oninput: event => onchange(event.target.value), ...more })
export const area = (value, onchange, more = {}) =>
 h('textarea', { spellcheck: 'false', rows: 4, value: value ?? '', oninput: event => onchange(event.target.value), ...more })
export const choose = (value, choices, onchange, more = {}) => h('select', { value: value ?? '', onchange: event => onchange(event.target.value), ...more },
 choices.map(choice => Array.isArray(choice) ? h('option', { value: choice[0] }, choice[1]) : h('option', { value: choice }, choice)))

/** A number or nothing; what is no number is kept as text, so that the server can say what is wrong with it. */
export const numeric = (value, onchange, more = {}) => input(value, text => onchange(text.trim() === '' ? undefined : Number.isFinite(Number(text)) ? Number(text) : text),
 { inputmode: 'decimal', class: 'short', ...more })

export function toggle(label, checked, onchange, more = {}) {
 return h('label.toggle', h('input', { type: 'checkbox', role: 'switch', checked: Boolean(checked), onchange: event => onchange(event.target.checked), ...more }), h('span.track', { 'aria-hidden': 'true' }), h('span', label))
}

/** A secret: what is there is shown masked by the server; typing replaces it. */
export function secret(value, onchange, more = {}) {
 const box = input(value, onchange, { type: /^\$\w/.test(value) ? 'text' : 'password', autocomplete: 'new-password', ...more })
 const eye = button(t(box.type === 'text' ? 'hide' : 'show'), () => {
  const show = box.type === 'password'
  box.type = show ? 'text' : 'password'
  eye.textContent = show ? t('hide') : t('show')
 }, 'small')
 return h('div.row', box, eye)
}

/** A text field with suggestions that can be searched; any text is allowed. `options`: {value, label, group, note}. */
export function combo(value, options, onchange, more = {}) {
 const list = h('ul.options', { role: 'listbox', id: uid('list'), hidden: true, label: more.label ?? t('suggestions') })
 let active = -1
 let visible = []
 const close = () => { list.hidden = true; box.setAttribute('aria-expanded', 'false'); box.removeAttribute('aria-activedescendant'); active = -1 }
 const pick = option => { box.value = option.value; onchange(option.value); close(); box.dispatchEvent(new Event('change')) }
 const mark = place => {
  active = place
  list.querySelectorAll('[role=option]').forEach((item, index) => {
   item.setAttribute('aria-selected', String(index === place))
   if (index === place) { box.setAttribute('aria-activedescendant', item.id); item.scrollIntoView({ block: 'nearest' }) }
  })
 }
 const show = all => {
  const words = all ? [] : box.value.toLowerCase().split(/[\s,]+/).filter(Boolean)
  visible = (typeof options === 'function' ? options() : options).filter(option => {
   const text = `${option.value} ${option.label ?? ''}`.toLowerCase()
   return words.every(word => text.includes(word))
  }).slice(0, 80)
  let group
  put(list, visible.map(option => [
   option.group && option.group !== group ? h('li.group', { role: 'presentation' }, group = option.group) : null,
   h('li', { role: 'option', id: uid('option'), 'aria-selected': 'false', onmousedown: event => { event.preventDefault(); pick(option) } },
    h('span', option.label ?? option.value), option.note ? h('small', option.note) : null),
  ]))
  list.hidden = !visible.length
  box.setAttribute('aria-expanded', String(Boolean(visible.length)))
  active = -1
 }
 const box = h('input', {
  type: 'text', role: 'combobox', autocomplete: 'off', spellcheck: 'false', 'aria-autocomplete': 'list', 'aria-expanded': 'false', 'aria-controls': list.id,
  value: value ?? '', ...more,
  oninput: () => { onchange(box.value.trim()); show(false) },
  onclick: () => show(true), onblur: close,
  onkeydown: event => {
   if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
    event.preventDefault()
    if (list.hidden) show(true)
    else mark((active + (event.key === 'ArrowDown' ? 1 : -1) + visible.length) % visible.length)
   } else if (event.key === 'Enter' && active >= 0) { event.preventDefault(); pick(visible[active]) }
   else if (event.key === 'Escape' && !list.hidden) { event.stopPropagation(); event.preventDefault(); close() }
  },
 })
 return h('div.combo', box, icon('down'), list)
}

export const LEVELS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']

/** Model suggestions out of GET /api/models. */
export const modelOptions = models => models.map(({ value, model, provider, window, configured }) => ({ value, label: model, group: provider,
 note: [window ? `${Math.round(window / 1000)}k` : '', configured ? '' : t('models.discovered')].filter(Boolean).join(' · ') }))

/** A route: model and, beside it, the reasoning level. `onchange` gets "provider,model[,level]" or ''. */
export function routePicker(value, models, onchange, label, more = {}) {
 // A model's name may hold commas, so only a known level is taken off the end.
 const found = /^(.*,.*),\s*(none|minimal|low|medium|high|xhigh|max|budget:\d+)\s*$/.exec(value ?? '')
 let model = found ? found[1] : value ?? '', level = found ? found[2] : ''
 const tell = () => onchange(model && level ? `${model},${level}` : model)
 const select = h('select.level', { label: `${label}: ${t('level')}`, onchange: () => { level = select.value; tell() } })
 const fill = () => {
  const own = models.find(it => it.value === model)?.levels
  put(select, h('option', { value: '' }, t('level.auto')), [...new Set([...own?.length ? own : LEVELS, level])].filter(Boolean).map(it => h('option', { value: it }, it)))
  select.value = level
 }
 fill()
 return h('div.row', combo(model, modelOptions(models), text => { model = text; fill(); tell() }, { label, placeholder: 'provider,model', ...more }), select)
}

/** A list whose entries can be moved and removed with buttons. `render(item, place)` draws one. */
export function sortable(items, render, onchange, { label, name = String } = {}) {
 const list = h('ol.sortable', { label })
 const say = h('span.sr', { 'aria-live': 'polite' })
 const act = (kind, item, task, disabled) => iconButton(kind, t(`list.${kind}`, { name: name(item) }), task, { disabled })
 const draw = () => put(list, items.map((item, place) => h('li', h('div.grow', render(item, place)), h('div.actions',
  act('up', item, () => move(place, -1), !place), act('down', item, () => move(place, 1), place === items.length - 1),
  act('x', item, () => { items.splice(place, 1); onchange(items); draw() })))))
 const move = (place, by) => {
  const [item] = items.splice(place, 1)
  items.splice(place + by, 0, item)
  onchange(items)
  draw()
  const [up, down] = list.children[place + by]?.querySelectorAll(':scope > .actions > button') ?? []
  const [first, other] = by < 0 ? [up, down] : [down, up]
  ;(first?.disabled ? other : first)?.focus()
  say.textContent = t('list.moved', { name: name(item), n: place + by + 1 })
 }
 draw()
 return h('div', list, say)
}

/** Names as removable tags with a field to add more. */
export function chips(items, onchange, { label, suggestions = [] } = {}) {
 const tags = h('ul.chips', { label })
 const draw = () => put(tags, items.map((item, place) => h('li.chip', h('span', item),
  iconButton('x', t('list.x', { name: item }), () => { items.splice(place, 1); onchange(items); draw(); text.focus() }))))
 const commit = () => {
  for (const word of text.value.split(/[\n,]+/).map(it => it.trim())) if (word && !items.includes(word)) items.push(word)
  text.value = ''
  onchange(items)
  draw()
 }
 const box = combo('', () => suggestions.filter(it => !items.includes(it)).map(value => ({ value })), () => {}, { label: `${label}: ${t('add')}`, placeholder: t('chips.placeholder'), onchange: commit })
 const text = box.querySelector('input')
 text.addEventListener('keydown', event => { if (event.key === 'Enter') { event.preventDefault(); commit() } })
 draw()
 return h('div.chips-box', tags, h('div.row', box, button(t('add'), commit, 'small')))
}

/** JSON in a text area: `onchange` gets the value whenever it can be parsed; what cannot be is marked at once. */
export function jsonArea(value, onchange, more = {}) {
 const text = area(value === undefined ? '' : dump(value, null, 2), () => {
  let wrong = ''
  try { onchange(text.value.trim() ? JSON.parse(text.value) : undefined) } catch (error) { wrong = error.message }
  text.setCustomValidity(wrong)
  text.setAttribute('aria-invalid', String(Boolean(wrong)))
 }, { class: 'mono', rows: 4, ...more })
 return text
}

/** Kinds of which a list is written as lines. */
const LINES = ['string', 'integer', 'number', 'choice', 'route']
const stated = value => value == null ? '' : typeof value === 'object' ? dump(value) : value === true ? t('yes') : value === false ? t('no') : String(value)

/** The control for a described value: {type, default, choices, items, required, secret, …}; `set(undefined)`: the default. */
function control(option, value, set, models, more) {
 const { type, required } = option
 const standard = [['', required ? '' : t('options.default', { value: stated(option.default) || '–' })]]
 const choices = type === 'boolean' ? [[true, t('yes')], [false, t('no')]] : option.choices?.map(it => it?.label ? [it.value, it.label] : [it, String(it)])
 if (type === 'checks') return h('div.checks', { role: 'group', label: option.name }, choices.map(([it, label]) => h('label', h('input', { type: 'checkbox', checked: value?.includes(it), onchange: event => {
  value = event.target.checked ? [...value ?? [], it] : value.filter(other => other !== it)
  set(value)
 } }), ' ', label)))
 if (choices) return choose(value ?? '', [...standard, ...choices.map(([it, label]) => [String(it), label])], text => set(choices.find(([it]) => String(it) === text)?.[0]), more)
 if (type === 'integer' || type === 'number') return numeric(value, set, more)
 if (type === 'list' && LINES.includes(option.items?.type)) return area((value ?? []).join('\n'), text => {
  const lines = text.split('\n').map(line => line.trim()).filter(Boolean)
  set(lines.length ? lines.map(line => /integer|number/.test(option.items.type) && Number.isFinite(Number(line)) ? Number(line) : line) : undefined)
 }, { ...more, rows: 3 })
 if (['list', 'object', 'any'].includes(type)) return jsonArea(value, set, more)
 if (type === 'route') return routePicker(value, models, text => set(text || undefined), option.name, more)
 const write = text => set(text === '' ? undefined : text)
 return option.secret ? secret(value, write, more) : type === 'text' ? area(value, write, more) : input(value, write, more)
}

/** A typed form for options described by a plugin. `onchange(values)` gets only what is set; a value left alone stays out, so
 * the plugin's default holds. */
export function optionsForm(options, values, onchange, { path, models = [] }) {
 const now = { ...values }
 const extra = Object.keys(now).filter(key => !options.some(it => it.name === key))
 if (!options.length && !extra.length) return h('p.muted', t('options.none'))
 return h('div.options-form', options.map(option => field([option.name, mark(option), h('small.type', known(`type.${option.type}`, option.type))], control(option, now[option.name], value => {
  if (value === undefined) delete now[option.name]
  else now[option.name] = value
  onchange(now)
 }, models, { placeholder: stated(option.default), 'data-type': option.type, required: option.required }),
 { hint: [option.summary, option.type === 'list' && LINES.includes(option.items?.type) ? t('options.lines') : '', limits(option)].filter(Boolean).join(' '), path: `${path}.${option.name}` })),
 extra.length ? h('p.notice.warn', t('options.unknown', { names: extra.join(', ') })) : null)
}

const mark = it => it.required ? h('span.req', ' *') : null
const limits = ({ minimum: min, maximum: max }) => min != null && max != null ? t('options.between', { min, max }) : min != null ? t('options.least', { min }) : max != null ? t('options.most', { max }) : ''

// --- questions of presets

const TESTS = { eq: (a, b) => a === b, ne: (a, b) => a !== b, in: (a, b) => b?.includes(a), nin: (a, b) => !b?.includes(a), exists: a => a != null, gt: (a, b) => a > b, lt: (a, b) => a < b, gte: (a, b) => a >= b, lte: (a, b) => a <= b }
const TYPES = { password: 'string', input: 'string', select: 'choice', multiselect: 'checks', confirm: 'boolean', editor: 'text', number: 'number' }

/** The questions of a preset as a form; those whose conditions do not hold are hidden. Gives {element, values()}. */
export function questionsForm(questions, given = {}, config = {}) {
 const values = Object.fromEntries(questions.map(({ id, type, default: standard }) => [id, given[id] ?? standard ?? { confirm: false, multiselect: [] }[type]]))
 const visible = ({ when }) => [when ?? []].flat().every(it => TESTS[it.operator ?? 'eq']?.(values[it.field], it.value) ?? true)
 // What can be chosen may be the models of a provider that another question asks for.
 const choices = ({ options, depends = [] }) => (config.Providers ?? []).find(it => depends.some(id => values[id] === it.name))?.models?.map(it => it.name ?? it) ?? options
 const element = h('div.options-form')
 const draw = () => put(element, questions.filter(visible).map(question => {
  const { id, type } = question
  const asked = questions.some(it => it !== question && dump([it.when, it.depends]).includes(`"${id}"`))
  const option = { ...question, name: question.label || id, type: TYPES[type] ?? 'string', secret: type === 'password' || question.secret, choices: /select/.test(type) ? choices(question) : undefined }
  const set = value => {
   values[id] = value
   if (!asked) return
   draw()
   const again = element.querySelector(`[data-question="${CSS.escape(id)}"]`)
   again?.focus()
   again?.setSelectionRange?.(again.value.length, again.value.length)
  }
  return field([option.name, mark(question)], control(option, values[id], set, [], { placeholder: question.placeholder, 'data-question': id, required: question.required }), { hint: question.prompt, path: id })
 }))
 draw()
 return { element, values: () => Object.fromEntries(questions.filter(it => visible(it) && values[it.id] !== undefined).map(({ id }) => [id, values[id]])) }
}
