/** A question of the local API and its answer, on their way between the socket and whoever knows. */
import { causeOf, isOtaError } from '../../errors.ts';

export interface ApiQuestion {
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly url: string;
  readonly body: string;
}

/** One JSON document. */
export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

/** The request itself was wrong: nothing was asked of the agent. */
export class Refusal extends Error {
  readonly status: number;
  readonly remedy: string;

  constructor(status: number, what: string, remedy: string) {
    super(what);
    this.status = status;
    this.remedy = remedy;
  }
}

export const SEE = 'see /openapi.json';

export function answerOf(status: number, document: object): ApiAnswer {
  return { status, text: JSON.stringify(document) };
}

/** What is said of an error instead of an answer. */
export function refusalOf(error: unknown): ApiAnswer {
  if (error instanceof Refusal) {
    const details = { what: error.message, remedy: error.remedy };
    return answerOf(error.status, { outcome: 'failed', code: 'USAGE', details });
  }
  const isExpected = isOtaError(error) && error.code !== 'BUG';
  const details = isExpected ? error.details : { what: causeOf(error) };
  const code = isExpected ? error.code : 'BUG';
  return answerOf(isExpected ? 409 : 500, { outcome: 'failed', code, details });
}
