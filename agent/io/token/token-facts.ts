/** What a token says of itself before anybody logs in. */
import graphene from 'graphene-pk11';

import { findBlankToken, findToken, hasToken } from './find-token.ts';
import { triesLeft } from './login.ts';
import type { TriesLeft } from './refused-pins.ts';
import { isIsolated, openModule, type ModuleSettings } from './module.ts';
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
export function readTokenFacts(settings: TokenSettings): TokenFacts {
  const { uri } = settings;
  const { slot, slotId, info } = findToken(openModule(settings), parseTokenUri(uri), uri);
  return {
    label: info.label,
    model: info.model,
    slotId,
    hasUserPin: (info.flags & graphene.TokenFlag.USER_PIN_INITIALIZED) !== 0,
    triesLeft: triesLeft(slot, 'user'),
  };
}

/** Whether provisioning would find a token to make ours of, and has not yet. */
export function isBlank(settings: TokenSettings): boolean {
  const [opened, wanted] = [openModule(settings), parseTokenUri(settings.uri)];
  return !hasToken(opened, wanted) && findBlankToken(opened, wanted) !== undefined;
}

/** @throws OtaError TOKEN_MODULE */
export function describeModule(settings: ModuleSettings): string {
  const module = openModule(settings);
  const tokens = module.getSlots(true).length;
  const { libraryDescription, manufacturerID } = module;
  const where = isIsolated(settings) ? ', in a process of its own (p11-kit)' : '';
  return `${libraryDescription.trim()} (${manufacturerID.trim()})${where}, ${String(tokens)} tokens`;
}
