/** Numbers a client knows things by: from 1, the lowest that is free first, as OP-TEE gives them. */
export class Handles<T> {
  readonly #things: (T | undefined)[] = [];

  add(thing: T): number {
    const free = this.#things.indexOf(undefined);
    const index = free === -1 ? this.#things.length : free;
    this.#things[index] = thing;
    return index + 1;
  }

  get(handle: number): T | undefined {
    return this.#things[handle - 1];
  }

  /** @returns 0 when it has none */
  handleOf(thing: T): number {
    return this.#things.indexOf(thing) + 1;
  }

  release(handle: number): void {
    if (this.get(handle) !== undefined) this.#things[handle - 1] = undefined;
  }
}
