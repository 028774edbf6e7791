/** A server that OpenSSL accepts and we do not; with a code, as Node's own TLS errors have. */
export class TlsRefusal extends Error {
  override readonly name = 'TlsRefusal';
  readonly code: 'ERR_TLS_DATE' | 'ERR_TLS_OCSP' | 'ERR_TLS_PIN';
  /** What a person does about it. */
  readonly remedy: string;

  constructor(code: TlsRefusal['code'], problem: string, remedy: string) {
    super(problem);
    this.code = code;
    this.remedy = remedy;
  }
}
