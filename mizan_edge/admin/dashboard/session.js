// Who is signed in, and what is asked of the edge with his token.

const KEPT = "mizan-edge-token"

/** What the edge has refused, in its own words. */
export class Problem extends Error {
  /** @param {number} status 0 where nobody has answered @param {object} document a problem document (RFC 9457) */
  constructor(status, document) {
    super(document.detail ?? document.title ?? `It answers ${status}.`)
    this.status = status
    this.document = document
  }
}

export class Session {
  #token = sessionStorage.getItem(KEPT)
  #ended

  /** @param {() => void} ended is called when the token is no good any more */
  constructor(ended) {
    this.#ended = ended
  }

  get isOpen() {
    return this.#token !== null
  }

  /** Uses a token from now on. Throws a Problem where the edge does not know it. */
  async open(token) {
    if (!/^[!-~]+$/.test(token)) throw new Problem(401, { detail: "A token has no spaces, and ASCII alone." })
    this.#token = token
    try {
      await this.get("/live")
    } catch (error) {
      this.#token = null
      throw error
    }
    sessionStorage.setItem(KEPT, token)
  }

  close() {
    this.#token = null
    sessionStorage.removeItem(KEPT)
  }

  /** What the edge answers to a GET. Throws a Problem. */
  get(path) {
    return this.#ask(path, {})
  }

  /** What it answers to a POST. Throws a Problem. */
  post(path, body) {
    return this.#ask(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    })
  }

  async #ask(path, { headers = {}, ...how }) {
    const token = this.#token
    let response, text
    try {
      // Relative, so that a proxy in front may serve all of it under a path of its own.
      response = await fetch(`.${path}`, {
        ...how,
        headers: { ...headers, Authorization: `Bearer ${token}` },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      })
      text = await response.text()
    } catch {
      throw new Problem(0, { detail: "The edge does not answer." })
    }
    const document = read(text)
    if (response.ok && document) return document
    if (response.status === 401 && sessionStorage.getItem(KEPT) === token) {
      this.close()
      this.#ended()
    }
    throw new Problem(response.status, document ?? {})
  }
}

function read(text) {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
