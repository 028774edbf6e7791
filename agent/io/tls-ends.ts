/** How a connection may end before it is one. */

/** Code of the error for a server that hangs up after the handshake. */
export const HUNG_UP = 'ERR_TLS_HUNG_UP';

export class HungUp extends Error {
  readonly code = HUNG_UP;

  constructor() {
    super('the gateway hung up right after the handshake, before it was asked anything');
  }
}

/** As undici's own, which would have to be loaded for it. */
export class ConnectTimeout extends Error {
  readonly code = 'UND_ERR_CONNECT_TIMEOUT';

  constructor() {
    super('no connection in time');
  }
}
