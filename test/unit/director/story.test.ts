import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import type { Json } from '../../director/json/canonical-json.ts';
import type { ManifestRecord } from '../../director/gateway/reports.ts';
import { storyOf, type Told } from '../../director/page/story.ts';

const NOTHING: Told = { manifests: [], events: [], history: [], telemetry: {} };

function manifest(at: string, filepath: string, attacks = ''): ManifestRecord {
  const signed = { installed_image: { filepath }, attacks_detected: attacks };
  return {
    receivedAt: at,
    verdict: { status: 200, code: 'accepted', description: '' },
    manifest: { signed: { ecu_version_manifests: { p: { signed } } } },
  };
}

function texts(told: Partial<Told>): readonly string[] {
  return storyOf({ ...NOTHING, ...told }).map(({ at, tone, text }) => `${at} ${tone}: ${text}`);
}

describe('the story of a device', () => {
  test('has what it said of itself, and nothing of what nobody has words for', () => {
    const configuration = { os: 'TorizonCore 6.4' };
    assert.deepEqual(
      texts({
        telemetry: {
          system_info: { receivedAt: '1', content: { product: 'Verdin', configuration } },
          'core/installed': { receivedAt: '2', content: [{ name: 'a' }, { name: 'b' }] },
          'system_info/network': {
            receivedAt: '3',
            content: { hostname: 'verdin-1', local_ipv4: '10.0.0.7' },
          },
          'system_info/config': { receivedAt: '4', content: '[tls]' },
        },
      }),
      [
        '3 plain: is verdin-1 at 10.0.0.7',
        '2 plain: has 2 packages installed',
        '1 plain: is a Verdin with TorizonCore 6.4',
      ],
    );
  });

  test('has what was decided, what happened and what it says, the newest first', () => {
    const entry = { images: ['fw-2'], correlationId: 'c' };
    assert.deepEqual(
      texts({
        manifests: [manifest('1', 'fw-1'), manifest('6', 'fw-2')],
        events: [
          {
            receivedAt: '3',
            event: { eventType: { id: 'EcuDownloadStarted' }, event: { ecu: 'p' } },
          },
          {
            receivedAt: '4',
            event: { eventType: { id: 'EcuInstallationCompleted' }, event: { success: false } },
          },
        ],
        history: [
          { ...entry, at: '2', what: 'assigned', detail: 'by the rollout spring' },
          { ...entry, at: '5', what: 'failed', detail: 'INSTALL_FAILED' },
        ],
      }),
      [
        '6 plain: says that it runs fw-2',
        '5 bad: could not be updated to fw-2 (INSTALL_FAILED)',
        '4 bad: has finished installing, without success',
        '3 plain: has begun to download',
        '2 plain: was given fw-2 (by the rollout spring)',
        '1 plain: says that it runs fw-1',
      ],
    );
  });

  test('does not tell again what an idle device says with every poll, but every attack', () => {
    assert.deepEqual(
      texts({
        manifests: [
          manifest('1', 'fw-1'),
          manifest('2', 'fw-1'),
          manifest('3', 'fw-1', 'rollback'),
        ],
      }),
      ['3 bad: has seen an attack: rollback', '1 plain: says that it runs fw-1'],
    );
  });

  test('keeps the order of what a device reported at once, the newest first', () => {
    const ids = ['EcuDownloadStarted', 'EcuDownloadCompleted', 'EcuInstallationStarted'];
    const events = ids.map((id) => ({ receivedAt: '1', event: { eventType: { id } } }));
    assert.deepEqual(texts({ events }), [
      '1 plain: has begun to install',
      '1 plain: has downloaded',
      '1 plain: has begun to download',
    ]);
  });

  test('says why a manifest was refused, whatever was in it', () => {
    const verdict = { status: 400, code: 'signature_not_valid', description: 'nobody signed it' };
    for (const content of [null, 7, { signed: [] }] as readonly Json[]) {
      assert.deepEqual(texts({ manifests: [{ receivedAt: '1', verdict, manifest: content }] }), [
        '1 bad: sent a manifest that was refused: nobody signed it',
      ]);
    }
  });

  test('names an event that it has no words for', () => {
    const event = { eventType: { id: 'DoorOpened' } };
    assert.deepEqual(texts({ events: [{ receivedAt: '1', event }] }), [
      '1 plain: reports DoorOpened',
    ]);
  });
});
