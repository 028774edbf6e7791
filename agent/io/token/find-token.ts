/** Finding the token that a URI means among those that are present. */
import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import type { TokenUri } from './pkcs11-uri.ts';
import { PROVISION } from './token-errors.ts';

const { TokenFlag } = graphene;

/** A slot and what was read of its token at that moment. */
export interface Candidate {
  readonly slot: graphene.Slot;
  readonly slotId: number;
  readonly info: graphene.Token;
}

/**
 * The one initialised token that matches.
 *
 * @param text - the URI as configured, for messages
 * @throws OtaError TOKEN_ABSENT, with the tokens that are there, if none matches
 * @throws OtaError TOKEN_OBJECT if several match
 */
export function findToken(module: graphene.Module, uri: TokenUri, text: string): Candidate {
  const present = candidates(module);
  const matching = present.filter((one) => isInitialised(one) && matches(one, uri));
  const [found, ...others] = matching;
  if (found === undefined) {
    const found = present.map(describe).join(', ') || 'no token';
    const remedy = `correct token.uri, or ${PROVISION}`;
    throw new OtaError('TOKEN_ABSENT', { uri: text, found, remedy });
  }
  if (others.length > 0) {
    throw new OtaError('TOKEN_OBJECT', {
      uri: text,
      problem: `several tokens match: ${matching.map(describe).join(', ')}`,
      remedy: 'add serial= or slot-id= to token.uri',
    });
  }
  return found;
}

/**
 * The first uninitialised token in a slot that the URI allows; its label is still to be given.
 *
 * @returns `undefined` if every such token is in use
 */
export function findBlankToken(module: graphene.Module, uri: TokenUri): Candidate | undefined {
  const unlabelled = { ...uri, token: undefined };
  return candidates(module).find((one) => !isInitialised(one) && matches(one, unlabelled));
}

/** Whether any initialised token matches; several do as well. */
export function hasToken(module: graphene.Module, uri: TokenUri): boolean {
  return candidates(module).some((one) => isInitialised(one) && matches(one, uri));
}

function candidates(module: graphene.Module): Candidate[] {
  const slots = module.getSlots(true);
  return Array.from({ length: slots.length }, (_, index) => {
    const slot = slots.items(index);
    return { slot, slotId: slotIdOf(slot), info: slot.getToken() };
  });
}

function isInitialised({ info }: Candidate): boolean {
  return (info.flags & TokenFlag.TOKEN_INITIALIZED) !== 0;
}

function matches({ info, slotId }: Candidate, uri: TokenUri): boolean {
  const pairs: [string | number | undefined, string | number][] = [
    [uri.token, info.label],
    [uri.serial, info.serialNumber],
    [uri.manufacturer, info.manufacturerID],
    [uri.model, info.model],
    [uri.slotId, slotId],
  ];
  return pairs.every(([wanted, present]) => wanted === undefined || wanted === present);
}

function describe(one: Candidate): string {
  const where = `slot ${String(one.slotId)}`;
  if (!isInitialised(one)) return `an uninitialised one in ${where}`;
  return `"${one.info.label}" (serial ${one.info.serialNumber}, ${where})`;
}

/** A slot identifier is a CK_ULONG in the machine's own size and order. */
function slotIdOf(slot: graphene.Slot): number {
  return slot.handle.readUIntLE(0, Math.min(slot.handle.length, 6));
}
