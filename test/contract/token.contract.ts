/** What every token must do for the agent: SoftHSM2, TPM and TEE, in this process and behind p11-kit. */
import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  verify,
  type KeyObject,
  type VerifyKeyObjectInput,
} from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { TLS_KEY_TYPES, UPTANE_KEY_TYPES, type KeyType } from '../../agent/io/token/key-types.ts';
import { importIntoTpm } from '../support/import-key.ts';
import { inChild, type Outcome } from '../support/in-child.ts';
import {
  LABEL,
  SO_PIN,
  USER_PIN,
  type TokenKind,
  type TokenWorld,
} from '../support/token-world.ts';
import { loginContract } from './token-login.contract.ts';

const SCENARIOS = join(import.meta.dirname, 'token.scenarios.ts');
const PAYLOAD = '{"report_counter":"1"}';

interface Made {
  readonly publicKey: string;
}

export function tokenContract(kind: TokenKind): void {
  describe(`token contract: ${kind.name}`, () => {
    let world: TokenWorld;

    beforeEach(async () => {
      world = await kind.open();
    });
    afterEach(() => world.close());

    const run = async (name: string, more: object = {}): Promise<Outcome> => {
      const args = { settings: world.settings, ...more };
      const outcome = await inChild(SCENARIOS, name, args, world.env);
      const everything = JSON.stringify(outcome);
      assert.ok(!everything.includes(USER_PIN), 'shows the user PIN');
      assert.ok(!everything.includes(SO_PIN), 'shows the SO PIN');
      return outcome;
    };
    const value = async (name: string, more: object = {}): Promise<unknown> => {
      const outcome = await run(name, more);
      assert.equal(outcome.text, undefined);
      return outcome.value;
    };
    const withKey = async (type: string): Promise<KeyObject> => {
      const made = (await value('prepare', { type })) as Made;
      return createPublicKey(made.publicKey);
    };
    const bringIn = async (privateKey: KeyObject): Promise<void> => {
      if (kind.importsBy === 'tpm2_ptool') {
        importIntoTpm(world, privateKey);
        return;
      }
      const { d = '', x = '', y = '' } = privateKey.export({ format: 'jwk' });
      const hex = (text: string): string => Buffer.from(text, 'base64url').toString('hex');
      await value('importKey', { d: hex(d), point: `044104${hex(x)}${hex(y)}` });
    };

    describe('the token itself', () => {
      test('initialises a blank token once, and finds it done the second time', async () => {
        assert.deepEqual(await value('initialise'), [
          'done now',
          'done now',
          'found done',
          'found done',
        ]);
      });

      test('completes a token that lost power before its user PIN was set', async () => {
        await value('initialiseWithoutUserPin');
        const { code, details } = await run('open');
        assert.equal(code, 'NOT_PROVISIONED');
        assert.equal(details['missing'], `the user PIN of token pkcs11:token=${LABEL}`);
        assert.deepEqual(await value('initialise'), [
          'found done',
          'done now',
          'found done',
          'found done',
        ]);
        assert.equal(((await value('open')) as { token: string }).token, LABEL);
      });

      test('lists the tokens that are there when the one that is meant is not', async () => {
        await value('initialise');
        const settings = { ...world.settings, uri: 'pkcs11:token=other' };
        const { code, details } = await run('open', { settings });
        assert.equal(code, 'TOKEN_ABSENT');
        assert.equal(details['uri'], 'pkcs11:token=other');
        assert.match(String(details['found']), /^"ota-agent" \(serial \w+, slot \d+\), an uninit/u);
      });

      const twins = async (): Promise<string> => {
        const [uri, other] =
          kind.differIn === 'token' ? ['pkcs11:', 'other'] : [world.settings.uri, LABEL];
        await value('initialiseTwin', { label: LABEL });
        await value('initialiseTwin', { label: other });
        const settings = { ...world.settings, uri };
        const { code, details } = await run('open', { settings });
        assert.equal(code, 'TOKEN_OBJECT');
        assert.match(String(details['remedy']), /serial=/u);
        return String(details['problem']);
      };

      test(`does not choose between two tokens, and finds one by its ${kind.differIn}`, async () => {
        const found = await twins();
        assert.match(found, /"ota-agent" \(.*\), "(ota-agent|other)" \(/u);
        const serial = /serial (\w+)/u.exec(found)?.[1] ?? '';
        const more = kind.differIn === 'serial' ? `;serial=${serial}` : '';
        const settings = { ...world.settings, uri: `pkcs11:token=${LABEL}${more}` };
        assert.deepEqual(await value('initialise', { settings }), [
          'found done',
          'done now',
          'found done',
          'found done',
        ]);
        const opened = (await value('open', { settings })) as Record<string, string>;
        assert.deepEqual([opened['token'], opened['serial']], [LABEL, serial]);
      });
    });

    loginContract({ kind, world: () => world, run, value });

    describe('keys', () => {
      for (const type of kind.keyTypes) {
        test(`makes ${type} keys that are sensitive, local and never extractable`, async () => {
          const made = (await value('prepare', { type })) as Made;
          const { publicKey } = made;
          const facts = { before: 'absent', found: 'whole', type, same: true };
          assert.deepEqual(made, { ...facts, publicKey });
        });
      }

      test('says which key types it can do, and what would do instead of one that it cannot', async () => {
        await value('initialise');
        const can = (types: readonly KeyType[]): readonly KeyType[] =>
          types.filter((type) => kind.keyTypes.includes(type));
        const supported = { tls: can(TLS_KEY_TYPES), uptane: can(UPTANE_KEY_TYPES) };
        assert.deepEqual(await value('review'), supported);
        for (const type of UPTANE_KEY_TYPES) {
          const wanted = { tls_key_type: 'ec-p256', uptane_key_type: type };
          const { code, details } = await run('review', { wanted });
          if (kind.keyTypes.includes(type)) {
            assert.equal(code, undefined);
            continue;
          }
          assert.equal(code, 'TOKEN_MECHANISM');
          assert.match(
            String(details['mechanism']),
            new RegExp(`uptane_key_type = "${type}"$`, 'u'),
          );
          assert.equal(details['supported'], supported.uptane.join(', '));
          assert.equal((await run('generate', { type })).code, 'TOKEN_MECHANISM');
        }
      });

      test('does not give out the secret part of a key', async () => {
        await withKey('rsa-2048');
        for (const privateExponentOrPrime of [0x123, 0x124]) {
          const answer = await value('readSecret', { attribute: privateExponentOrPrime });
          assert.match(String(answer), /^CKR_ATTRIBUTE_(SENSITIVE|TYPE_INVALID)/u);
        }
      });

      test('refuses a key that may leave the token', async () => {
        await value('initialise');
        const made = await value('makeExtractableKey');
        if (kind.extractable === 'refused') {
          assert.match(String(made), /^CKR_/u);
          return;
        }
        const { code, details } = await run('checkAttributes');
        assert.equal(code, 'TOKEN_KEY_UNSAFE');
        assert.equal(details['attribute'], 'CKA_EXTRACTABLE');
      });

      test('refuses a key that was made elsewhere and brought in, unless that is allowed', async () => {
        await value('initialise');
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        await bringIn(privateKey);
        const { code, details } = await run('checkAttributes');
        assert.equal(code, 'TOKEN_KEY_UNSAFE');
        const first = kind.extractable === 'made' ? 'CKA_ALWAYS_SENSITIVE' : 'CKA_EXTRACTABLE';
        assert.equal(details['attribute'], first);
        assert.match(
          String(await value('checkAttributes', { allowImported: true })),
          /^key "ota-agent-uptane" was made outside the token.*CKA_LOCAL/u,
        );
      });

      test('tells half a pair from a whole one and from none', async () => {
        await withKey('ec-p256');
        assert.deepEqual(await value('destroyByHalves'), ['whole', 'broken', 'absent']);
      });

      test('destroys none in place of another where their handles are the same', async () => {
        await value('initialise');
        const { code, details } = await run('replaceFirst');
        if (code !== undefined) {
          assert.equal(code, 'TOKEN_FAILED');
          assert.match(String(details['cause']), /one handle for several objects; a new process/u);
        }
        assert.deepEqual(await value('destroyLater'), ['absent', 'whole', 'absent']);
      });
    });

    describe('signatures', () => {
      const verifies = (input: VerifyKeyObjectInput, base64: unknown, payload = PAYLOAD): boolean =>
        verify('sha256', Buffer.from(payload), input, Buffer.from(String(base64), 'base64'));

      test('signs manifests with RSASSA-PSS, SHA-256 and a salt of exactly 32 bytes', async () => {
        const key = await withKey('rsa-2048');
        const signed = (await value('signer', { payload: PAYLOAD })) as Record<string, string>;
        const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
        assert.ok(verifies(pss, signed['signature']));
        assert.ok(!verifies(pss, signed['signature'], `${PAYLOAD} `));
        assert.ok(!verifies({ ...pss, saltLength: 20 }, signed['signature']));
        assert.equal(signed['method'], 'rsassa-pss');
        const pem = key.export({ type: 'spki', format: 'pem' }).toString().trimEnd();
        const keyId = createHash('sha256').update(JSON.stringify(pem)).digest('hex');
        assert.equal(signed['keyId'], keyId);
      });

      test(
        'signs manifests with Ed25519',
        { skip: !kind.keyTypes.includes('ed25519') },
        async () => {
          const key = await withKey('ed25519');
          const signed = (await value('signer', { payload: PAYLOAD })) as Record<string, string>;
          const signature = Buffer.from(signed['signature'] ?? '', 'base64');
          assert.ok(verify(null, Buffer.from(PAYLOAD), key, signature));
          assert.ok(!verify(null, Buffer.from(`${PAYLOAD} `), key, signature));
          assert.equal(signed['method'], 'ed25519');
        },
      );

      test('signs manifests with ECDSA P-256, as aktualizr spells it', async () => {
        const key = await withKey('ec-p256');
        const signed = (await value('signer', { payload: PAYLOAD })) as Record<string, string>;
        assert.ok(verifies({ key }, signed['signature']));
        assert.equal(signed['method'], 'ecPrime256v1');
        const hex = key.export({ type: 'spki', format: 'der' }).toString('hex');
        const keyId = createHash('sha256').update(JSON.stringify(hex)).digest('hex');
        assert.equal(signed['keyId'], keyId);
      });

      test('signs certificate requests with ECDSA, r then s', async () => {
        const key = await withKey('ec-p256');
        const signature = await value('sign', { scheme: 'ecdsa-sha256', payload: PAYLOAD });
        assert.ok(verifies({ key, dsaEncoding: 'ieee-p1363' }, signature));
      });

      test('signs certificate requests with RSASSA-PKCS1-v1_5', async () => {
        const key = await withKey('rsa-2048');
        const signature = await value('sign', { scheme: 'rsassa-pkcs1-sha256', payload: PAYLOAD });
        assert.ok(verifies({ key, padding: constants.RSA_PKCS1_PADDING }, signature));
      });

      test('signs again after its sessions were closed and its login was lost', async () => {
        await withKey('rsa-2048');
        assert.deepEqual(await value('signAfterLoss'), [256, 256, 256]);
      });

      test('says which key is missing', async () => {
        await value('initialise');
        const { code, details } = await run('signer', { payload: PAYLOAD });
        assert.equal(code, 'NOT_PROVISIONED');
        assert.match(String(details['missing']), /^Uptane key "ota-agent-uptane"/u);
      });

      test('names the mechanisms that there are when it lacks one', async () => {
        await value('initialise');
        const { code, details } = await run('chooseUnknownMechanism');
        assert.equal(code, 'TOKEN_MECHANISM');
        assert.equal(details['mechanism'], '0x7ffffff1');
        assert.match(String(details['offered']), /\bECDSA\b/u);
      });
    });
  });
}
