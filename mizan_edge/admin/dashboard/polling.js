// Asking again and again: one request at a time for each source, none while nobody looks.

const NEVERTHELESS_S = 60 // after which something may be there that was not

/** Asks for several sources, each at a pace of its own. */
export class Polling {
  #session
  #sources = []

  constructor(session) {
    this.#session = session
    document.addEventListener("visibilitychange", () => document.hidden || this.now())
  }

  /**
   * Adds what is asked for every so many seconds.
   * @param {() => string} path @param {(answer: object) => void} answered @param {(problem: Error) => void} failed
   */
  add(seconds, path, answered, failed) {
    this.#sources.push({ seconds, path, answered, failed, timer: null, asking: false, again: false })
  }

  /** Asks for everything now, or what has this path, and goes on from there. */
  now(path = null) {
    for (const source of this.#sources) {
      if (path === null || source.path().startsWith(path)) this.#ask(source)
    }
  }

  async #ask(source) {
    clearTimeout(source.timer)
    source.again = source.asking
    if (source.asking || !this.#session.isOpen || document.hidden) return
    source.asking = true
    const [answer, problem] = await this.#session.get(source.path()).then(
      (answer) => [answer, null],
      (problem) => [null, problem],
    )
    source.asking = false
    const pause = source.again ? 0 : problem?.status === 404 ? NEVERTHELESS_S : source.seconds
    source.timer = setTimeout(() => this.#ask(source), pause * 1000)
    if (!this.#session.isOpen) return
    if (problem === null) source.answered(answer)
    else source.failed(problem)
  }
}
