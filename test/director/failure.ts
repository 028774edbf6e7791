/** What can go wrong here, for two audiences: the operator at a terminal and the peer of a request. */

/** A failure an operator can act on. It says what happened, where, and what to do about it. */
export class DirectorFailure extends Error {
  override readonly name = 'DirectorFailure';
  readonly where: string;
  readonly remedy: string;
  /** 2: the command was used wrongly. 1: everything else. */
  readonly exitCode: 1 | 2;

  constructor(
    what: string,
    fields: { readonly where: string; readonly remedy: string; readonly exitCode?: 1 | 2 },
    options?: ErrorOptions,
  ) {
    super(what, options);
    this.where = fields.where;
    this.remedy = fields.remedy;
    this.exitCode = fields.exitCode ?? 1;
  }

  /** Three lines for a terminal. */
  override toString(): string {
    return `error: ${this.message}\nwhere: ${this.where}\nremedy: ${this.remedy}`;
  }
}

/** An answer that is not success: HTTP status, the field's error code, one sentence. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    description: string,
    options: ErrorOptions & { readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(description, options);
    this.status = status;
    this.code = code;
    this.headers = options.headers ?? {};
  }
}

/** A foreign error in one line. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Prints a failure for people and gives the exit code that goes with it. */
export function reportFailure(error: unknown): 1 | 2 {
  if (error instanceof DirectorFailure) {
    process.stderr.write(`${error.toString()}\n`);
    return error.exitCode;
  }
  process.stderr.write(
    `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return 1;
}
