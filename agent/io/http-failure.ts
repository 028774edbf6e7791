/** Why a download ended, in the codes of undici: an image does without it, and whoever reads them does not care. */
export class HttpFailure extends Error {
  readonly code: 'UND_ERR_SOCKET' | 'UND_ERR_HEADERS_TIMEOUT' | 'UND_ERR_BODY_TIMEOUT';

  constructor(code: HttpFailure['code'], message: string) {
    super(message);
    this.code = code;
  }
}
