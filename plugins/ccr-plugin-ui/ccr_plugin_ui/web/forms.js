// Fields: labels that belong to their inputs, pickers with search, lists that can be ordered, forms out of schemas.
import { button, h, icon, iconButton, put, s, uid } from './dom.js'
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
  const box = input(value, onchange, { type: 'password', autocomplete: 'new-password', ...more })
  const eye = button(t('show'), () => {
    const show = box.type === 'password'
    box.type = show ? 'text' : 'password'
    eye.textContent = show ? t('hide') : t('show')
  }, 'small')
  return h('div.row', box, eye)
}

/** A text field with suggestions that can be searched; any text is allowed. `options`: {value, label, group, note}. */
export function combo(value, options, onchange, more = {}) {
  const list = h('ul.options', { role: 'listbox', id: uid('list'), hidden: true, 'aria-label': more['aria-label'] ?? t('suggestions') })
  let active = -1
  let visible = []
  const close = () => { list.hidden = true; box.setAttribute('aria-expanded', 'false'); box.removeAttribute('aria-activedescendant'); active = -1 }
  const pick = option => { box.value = option.value; onchange(option.value); close() }
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

/** "provider,model,high" to its parts; a model may hold commas, so only a known level is taken off the end. */
export function splitRoute(text, levels = LEVELS) {
  const found = /^(.*),\s*(none|minimal|low|medium|high|xhigh|max|budget:\d+|budget)\s*$/.exec(text ?? '')
  return found && found[1].includes(',') ? { model: found[1], level: found[2] } : { model: text ?? '', level: '' }
}

/** Model suggestions out of GET /api/models. */
export const modelOptions = models => models.map(model => ({
  value: model.value, label: model.label && model.label !== model.value ? model.label : model.model ?? model.value, group: model.provider,
  note: [model.window ? `${Math.round(model.window / 1000)}k` : '', model.configured === false ? t('models.discovered') : ''].filter(Boolean).join(' · '),
}))

/** A route: model and, beside it, the reasoning level. `onchange` gets "provider,model[,level]" or ''. */
export function routePicker(value, models, onchange, label, more = {}) {
  let { model, level } = splitRoute(value)
  const levels = () => {
    const own = models.find(each => each.value === model)?.levels
    return own?.length ? own : LEVELS
  }
  const tell = () => onchange(model ? (level ? `${model},${level}` : model) : '')
  const select = h('select.level', { 'aria-label': `${label}: ${t('level')}`, onchange: () => { level = select.value; tell() } })
  const fill = () => {
    put(select, h('option', { value: '' }, t('level.auto')), [...new Set([...levels(), ...(level ? [level] : [])])].map(each => h('option', { value: each }, each)))
    select.value = level
  }
  fill()
  return h('div.row', combo(model, modelOptions(models), text => { ({ model } = { model: text }); fill(); tell() }, { 'aria-label': label, placeholder: 'provider,model', ...more }), select)
}

/** A list whose entries can be moved and removed with buttons. `render(item, place)` draws one. */
export function sortable(items, render, onchange, { label, removable = true, name = item => String(item) } = {}) {
  const list = h('ol.sortable', { 'aria-label': label })
  const say = h('span.sr', { 'aria-live': 'polite' })
  const draw = (focus) => {
    put(list, items.map((item, place) => h('li', h('div.grow', render(item, place)), h('div.actions',
      iconButton('up', t('list.up', { name: name(item) }), () => move(place, -1), { disabled: place === 0 }),
      iconButton('down', t('list.down', { name: name(item) }), () => move(place, 1), { disabled: place === items.length - 1 }),
      removable ? iconButton('x', t('list.remove', { name: name(item) }), () => { items.splice(place, 1); onchange(items); draw() }) : null))))
    if (focus) (list.children[focus[0]]?.querySelectorAll('.icon-button')[focus[1]] ?? list).focus()
  }
  const move = (place, by) => {
    const [item] = items.splice(place, 1)
    items.splice(place + by, 0, item)
    onchange(items)
    draw()
    const buttons = [...list.children[place + by].querySelectorAll(':scope > .actions > .icon-button')]
    ;(buttons[by < 0 ? 0 : 1].disabled ? buttons[by < 0 ? 1 : 0] : buttons[by < 0 ? 0 : 1]).focus()
    say.textContent = t('list.moved', { name: name(item), n: place + by + 1 })
  }
  draw()
  return h('div', list, say)
}

/** Names as removable tags with a field to add more. */
export function chips(items, onchange, { label, suggestions = [] } = {}) {
  const tags = h('ul.chips', { 'aria-label': label })
  const draw = () => put(tags, items.map((item, place) => h('li.chip', h('span', item),
    iconButton('x', t('list.remove', { name: item }), () => { items.splice(place, 1); onchange(items); draw(); box.querySelector('input').focus() }))))
  const add = text => {
    for (const word of text.split(/[\n,]+/).map(each => each.trim()).filter(Boolean)) if (!items.includes(word)) items.push(word)
    onchange(items)
    draw()
  }
  const box = combo('', () => suggestions.filter(each => !items.includes(each)).map(each => ({ value: each })), () => {}, { 'aria-label': `${label}: ${t('add')}`, placeholder: t('chips.placeholder') })
  const text = box.querySelector('input')
  const commit = () => { if (text.value.trim()) { add(text.value); text.value = '' } }
  text.addEventListener('keydown', event => { if (event.key === 'Enter') { event.preventDefault(); commit() } })
  text.addEventListener('change', commit)
  draw()
  return h('div.chips-box', tags, h('div.row', box, button(t('add'), commit, 'small')))
}

/** JSON in a text area: `onchange` gets the value whenever it can be parsed; what cannot be is marked at once. */
export function jsonArea(value, onchange, more = {}) {
  const text = area(value === undefined ? '' : JSON.stringify(value, null, 2), () => {
    try {
      onchange(text.value.trim() === '' ? undefined : JSON.parse(text.value))
      text.setCustomValidity('')
      text.removeAttribute('aria-invalid')
    } catch (error) {
      text.setCustomValidity(error.message)
      text.setAttribute('aria-invalid', 'true')
    }
  }, { class: 'mono', ...more })
  return text
}

/** A typed form for options described by a plugin: {name, type, required, default, choices, items, summary, …}.
 * `onchange(values)` gets only what is set; a value left alone stays out, so the plugin's default holds. */
export function optionsForm(options, values, onchange, { path = '', models = [] } = {}) {
  const now = { ...values }
  const put1 = (name, value) => {
    if (value === undefined) delete now[name]
    else now[name] = value
    onchange(now)
  }
  if (!options.length) return h('p.muted', t('options.none'))
  const stated = value => value === undefined || value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value)
  const control = option => {
    const value = now[option.name]
    const more = { placeholder: stated(option.default), required: option.required || null, 'data-type': option.type }
    const set = next => put1(option.name, next)
    if (option.choices?.length) return choose(value ?? '', [['', option.required ? '' : t('options.default', { value: stated(option.default) || '–' })], ...option.choices.map(String)],
      text => set(text === '' ? undefined : option.choices.find(each => String(each) === text)), more)
    switch (option.type) {
      case 'boolean': return choose(value === undefined ? '' : String(value), [['', t('options.default', { value: option.default ? t('yes') : t('no') })], ['true', t('yes')], ['false', t('no')]],
        text => set(text === '' ? undefined : text === 'true'), more)
      case 'integer': case 'number': return numeric(value, set, { ...more, min: option.minimum, max: option.maximum })
      case 'list': return !option.items || typeof option.items === 'string' && option.items === 'string' || option.items?.type === 'string' || !['object', 'list', undefined].includes(option.items?.type ?? option.items)
        ? area((value ?? []).join('\n'), text => {
          const lines = text.split('\n').map(line => line.trim()).filter(Boolean)
          const kind = option.items?.type ?? option.items
          set(lines.length ? lines.map(line => kind === 'integer' || kind === 'number' ? (Number.isFinite(Number(line)) ? Number(line) : line) : line) : undefined)
        }, { ...more, rows: 3 })
        : jsonArea(value, set, { ...more, rows: 4 })
      case 'object': return jsonArea(value, set, { ...more, rows: 5 })
      case 'route': return routePicker(value, models, text => set(text || undefined), option.name)
      default: return option.secret ? secret(value, text => set(text || undefined), more) : input(typeof value === 'object' ? JSON.stringify(value) : value, text => set(text === '' ? undefined : text), more)
    }
  }
  const named = new Set(options.map(option => option.name))
  const extra = Object.keys(now).filter(key => !named.has(key))
  return h('div.options-form', options.map(option => field([option.name, option.required ? h('span.req', ' *') : null, h('small.type', known(`type.${option.type}`, option.type))], control(option),
    { hint: [option.summary, option.type === 'list' ? t('options.lines') : '', limits(option)].filter(Boolean).join(' '), path: path ? `${path}.${option.name}` : option.name })),
  extra.length ? h('p.notice.warn', t('options.unknown', { names: extra.join(', ') })) : null)
}

const limits = option => option.minimum !== undefined && option.minimum !== null && option.maximum !== undefined && option.maximum !== null
  ? t('options.between', { min: option.minimum, max: option.maximum })
  : option.minimum !== undefined && option.minimum !== null ? t('options.least', { min: option.minimum })
    : option.maximum !== undefined && option.maximum !== null ? t('options.most', { max: option.maximum }) : ''

// --- questions of presets -----------------------------------------------------------------------------------------

const holds = (condition, values) => {
  const given = values[condition.field]
  switch (condition.operator ?? 'eq') {
    case 'eq': return given === condition.value
    case 'ne': return given !== condition.value
    case 'in': return Array.isArray(condition.value) && condition.value.includes(given)
    case 'nin': return Array.isArray(condition.value) && !condition.value.includes(given)
    case 'exists': return given !== undefined && given !== null
    case 'gt': return Number(given) > Number(condition.value)
    case 'lt': return Number(given) < Number(condition.value)
    case 'gte': return Number(given) >= Number(condition.value)
    case 'lte': return Number(given) <= Number(condition.value)
    default: return true
  }
}

/** The questions of a preset as a form; those whose conditions do not hold are hidden. Gives {element, values()}. */
export function questionsForm(questions, given = {}, config = {}) {
  const values = {}
  for (const question of questions) {
    values[question.id] = given[question.id] ?? question.default ?? { confirm: false, multiselect: [], number: undefined }[question.type] ?? ''
  }
  const visible = question => (Array.isArray(question.when) ? question.when : question.when ? [question.when] : []).every(each => holds(each, values))
  const choices = question => {
    const own = question.options
    const list = Array.isArray(own) ? own : own?.type === 'static' ? own.options ?? []
      : own?.type === 'providers' ? (config.Providers ?? []).map(each => ({ value: each.name, label: each.name, description: each.api_base_url }))
        : own?.type === 'models' ? (config.Providers ?? []).find(each => each.name === values[String(own.providerField).replace(/^#\{|\}$/g, '')])?.models ?? [] : []
    return list.map(each => typeof each === 'object' ? each : { value: each, label: String(each) })
  }
  const element = h('div.options-form')
  const draw = () => put(element, questions.filter(visible).map(question => {
    const depended = questions.some(other => other !== question && JSON.stringify([other.when, other.options]).includes(question.id))
    const set = value => { values[question.id] = value; if (depended) { const id = document.activeElement?.dataset.question; draw(); element.querySelector(`[data-question="${CSS.escape(id ?? '')}"]`)?.focus() } }
    const more = { placeholder: question.placeholder, 'data-question': question.id, required: question.required || null }
    const value = values[question.id]
    const control = question.type === 'password' || question.secret ? secret(value, text => { values[question.id] = text }, more)
      : question.type === 'number' ? numeric(value, set, more)
        : question.type === 'editor' ? area(value, text => { values[question.id] = text }, { ...more, rows: question.rows ?? 5 })
          : question.type === 'confirm' ? choose(String(Boolean(value)), [['true', t('yes')], ['false', t('no')]], text => set(text === 'true'), more)
            : question.type === 'select' ? choose(value, [['', ''], ...choices(question).map(each => [each.value, each.label ?? each.value])], set, more)
              : question.type === 'multiselect' ? h('div.checks', { role: 'group', 'aria-label': question.label || question.id }, choices(question).map(each => h('label', h('input', { type: 'checkbox', checked: (value ?? []).includes(each.value), onchange: event => {
                set(event.target.checked ? [...(value ?? []), each.value] : (value ?? []).filter(other => other !== each.value)) } }), ' ', each.label ?? each.value)))
                : input(value, depended ? set : text => { values[question.id] = text }, more)
    return field([question.label || question.id, question.required ? h('span.req', ' *') : null], control, { hint: question.prompt, path: question.id })
  }))
  draw()
  return { element, values: () => Object.fromEntries(questions.filter(visible).filter(question => values[question.id] !== undefined).map(question => [question.id, values[question.id]])) }
}
