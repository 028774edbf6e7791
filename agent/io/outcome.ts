/** Work that goes on while nobody waits for it: how it ended is kept until somebody asks. */
export type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** Never rejects. */
export async function outcome<T>(promise: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await promise };
  } catch (error) {
    return { error };
  }
}

/** @throws what it ended with */
export async function settled<T>(promise: Promise<Outcome<T>>): Promise<T> {
  const ended = await promise;
  if ('error' in ended) throw ended.error;
  return ended.value;
}
