/** What a token says of itself before anybody logs in. */
import graphene from 'graphene-pk11';

import { findBlankToken, findToken, hasToken } from './find-token.ts';
import { triesLeft } from './login.ts';
import type { TriesLeft } from './refused-pins.ts';
import { openModule } from './module.ts';
import { parseTokenUri } from './pkcs11-uri.ts';
import type { TokenSettings } from './token.ts';

export interface TokenFacts {
  readonly label: string;
  readonly model: string;
  readonly slotId: number;
  readonly hasUserPin: boolean;
  readonly triesLeft: TriesLeft;
}

/** @throws OtaError TOKEN_MODULE, TOKEN_ABSENT, TOKEN_OBJECT */
export function readTokenFacts({ module, uri }: TokenSettings): TokenFacts {
  const { slot, slotId, info } = findToken(openModule(module), parseTokenUri(uri), uri);
  return {
    label: info.label,
    model: info.model,
    slotId,
    hasUserPin: (info.flags & graphene.TokenFlag.USER_PIN_INITIALIZED) !== 0,
    triesLeft: triesLeft(slot, 'user'),
  };
}

/** Whether provisioning would find a token to make ours of, and has not yet. */
export function isBlank({ module, uri }: TokenSettings): boolean {
  const [opened, wanted] = [openModule(module), parseTokenUri(uri)];
  return !hasToken(opened, wanted) && findBlankToken(opened, wanted) !== undefined;
}

/** @throws OtaError TOKEN_MODULE */
export function describeModule(path: string): string {
  const module = openModule(path);
  const tokens = module.getSlots(true).length;
  const { libraryDescription, manufacturerID } = module;
  return `${libraryDescription.trim()} (${manufacturerID.trim()}), ${String(tokens)} tokens`;
}
