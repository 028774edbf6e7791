/** Holds the conversation with `uptane/verify.ts`: fetches what it asks for, keeps what it trusts. */
import type { Ports } from '../ports.ts';
import type { Answer, Conversation, Need } from '../uptane/verify.ts';

/** Answers a conversation until it returns. Whatever `answer` throws ends it. */
export async function converse<T>(
  talk: Conversation<T>,
  answer: (need: Need) => Promise<Answer>,
): Promise<T> {
  let turn = talk.next();
  while (turn.done !== true) turn = talk.next(await answer(turn.value));
  return turn.value;
}

/** Answers from the repositories and the store. */
export async function answerFrom(ports: Ports, need: Need): Promise<Answer> {
  if (need.need === 'fetch') {
    return ports.repositories.fetchMetadata(need.repo, need.file, need.maxBytes);
  }
  await ports.store.keep([need]);
  return undefined;
}
