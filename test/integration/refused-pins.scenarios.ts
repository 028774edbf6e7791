/** Logins of a process that remembers refused PINs in a directory, as the command line makes it do. */
import graphene from 'graphene-pk11';

import { openModule } from '../../agent/io/token/module.ts';
import { keepRefusedPins } from '../../agent/io/token/refused-pins.ts';
import { openToken, type TokenSettings } from '../../agent/io/token/token.ts';
import { LABEL, SO_PIN } from '../support/token-world.ts';

interface Args {
  readonly settings: TokenSettings;
  readonly directory: string;
}

export function open({ settings, directory }: Args): string {
  keepRefusedPins(directory);
  const token = openToken(settings, 'read-only', process.env);
  token.close();
  return 'open';
}

/** The Security Officer gives the token another user PIN, with a tool of theirs. */
export function resetUserPin({ settings, pin }: Args & { pin: string }): void {
  const { SERIAL_SESSION, RW_SESSION } = graphene.SessionFlag;
  const slots = openModule(settings).getSlots(true);
  const slot = Array.from({ length: slots.length }, (_, index) => slots.items(index)).find(
    (one) => one.getToken().label === LABEL,
  );
  if (slot === undefined) throw new Error('no token');
  const session = slot.open(SERIAL_SESSION | RW_SESSION);
  session.login(SO_PIN, graphene.UserType.SO);
  session.initPin(pin);
  session.logout();
}
