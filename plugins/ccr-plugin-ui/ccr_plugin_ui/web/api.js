// Talking to the router. The session token lives in this tab only and is sent in a header.

const KEY = 'ccr.session'
export const events = new EventTarget()
const tell = name => events.dispatchEvent(new Event(name))

export const session = {
 get token() { return sessionStorage.getItem(KEY) },
 set token(value) { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY) },
}

/** What the router refused: `status` (0: it did not answer), `type`, `message`, and `problems` with their places. */
export class ApiError extends Error {
 constructor(status, body) {
  const error = body?.error ?? {}
  super(error.message || (typeof error === 'string' ? error : '') || `HTTP ${status}`)
  this.status = status
  this.type = error.type
  this.problems = error.problems ?? []
  this.version = error.version ?? body?.version
  this.body = body
 }
}

async function send(method, path, body, { signal, type, headers } = {}) {
 const token = session.token
 let answer
 try {
  answer = await fetch(path, {
   method, signal, cache: 'no-store', credentials: 'omit', redirect: 'error',
   headers: {
    ...(token ? { authorization: `Bearer ${token}` } : {}),
    ...(body === undefined ? (method === 'GET' ? {} : { 'content-type': 'application/json' }) : { 'content-type': type || 'application/json' }),
    ...headers,
   },
   body: body === undefined ? (method === 'GET' ? undefined : '{}') : type ? body : JSON.stringify(body),
  })
 } catch (error) {
  if (error.name === 'AbortError') throw error
  tell('offline')
  throw new ApiError(0, { error: { message: 'the router does not answer' } })
 }
 tell('online')
 return answer
}

export async function failed(answer) {
 const body = await answer.json().catch(() => null)
 const error = new ApiError(answer.status, body)
 if (answer.status === 401 && session.token) {
  session.token = null
  tell('signed-out')
 }
 return error
}

async function call(method, path, body, options) {
 const answer = await send(method, path, body, options)
 if (!answer.ok) throw await failed(answer)
 if (answer.status === 204) return {}
 return answer.json()
}

export const api = {
 get: (path, options) => call('GET', path, undefined, options),
 post: (path, body = {}, options) => call('POST', path, body, options),
 put: (path, body, options) => call('PUT', path, body, options),
 patch: (path, body, options) => call('PATCH', path, body, options),
 delete: (path, body = {}, options) => call('DELETE', path, body, options),
 /** The bare answer, for streams. */
 raw: send,
}

export const query = values => {
 const text = new URLSearchParams(Object.entries(values).filter(([, value]) => value != null && value !== '')).toString()
 return text ? `?${text}` : ''
}
