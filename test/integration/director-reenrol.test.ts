/** simplereenroll of the mock EST server (RFC 7030 §4.2.2). */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { after, before, describe, test } from 'node:test';

import { createRequest, SimulatedDevice } from '../director/simulated/device.ts';
import { startDirector, type DirectorHandle } from '../director/start.ts';
import { temporaryDirectory } from '../support/temporary.ts';

describe('simplereenroll', () => {
  const state = temporaryDirectory('director');
  let director: DirectorHandle;
  let device: SimulatedDevice;
  before(async () => {
    director = await startDirector({ stateDir: state.path });
    device = await SimulatedDevice.create(director, 'device-1');
  });
  after(async () => {
    device.close();
    await director.stop();
    state.remove();
  });

  const reenrol = async (
    commonName: string,
    holder?: SimulatedDevice,
  ): Promise<{ status: number; text: string; retryAfter: string | undefined }> => {
    const { csr } = await createRequest(commonName);
    const identity = holder && { key: holder.key, cert: holder.certificate };
    const ca = readFileSync(director.caPath);
    return new Promise((resolve, reject) => {
      const url = `${director.enrolUrl}/.well-known/est/simplereenroll`;
      const options = { method: 'POST', ca, agent: false, ...identity };
      const sent = request(url, options, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => (text += part));
        answer.on('end', () => {
          const retryAfter = answer.headers['retry-after'];
          resolve({ status: answer.statusCode ?? 0, text, retryAfter });
        });
      });
      sent.on('error', reject);
      sent.end(csr.replaceAll(/-----[^-]+-----/gu, ''));
    });
  };
  const issued = async (): Promise<{ serial: string; pem: string }[]> =>
    (await director.control('GET', '/certificates')) as { serial: string; pem: string }[];

  test('issues another certificate to who shows one', async () => {
    const { status } = await reenrol('device-1', device);
    assert.equal(status, 200);
    const all = await issued();
    assert.equal(all.length, 2);
    assert.equal(new X509Certificate(all[1]?.pem ?? '').subject, 'CN=device-1');
  });

  test('is 401 without a certificate, and 400 for another name', async () => {
    const nobody = await reenrol('device-1');
    assert.equal(nobody.status, 401);
    assert.match(nobody.text, /certificate_needed/u);
    const other = await reenrol('device-2', device);
    assert.equal(other.status, 400);
    assert.match(other.text, /csr_subject/u);
    assert.equal((await issued()).length, 2);
  });

  test('lets wait or refuses as it is told', async () => {
    await director.control('PUT', '/settings', { reenrolment: 'later' });
    const later = await reenrol('device-1', device);
    assert.deepEqual([later.status, later.retryAfter], [202, '60']);
    await director.control('PUT', '/settings', { reenrolment: 'refused' });
    assert.equal((await reenrol('device-1', device)).status, 403);
    await director.control('PUT', '/settings', { reenrolment: 'allowed' });
    await assert.rejects(director.control('PUT', '/settings', { reenrolment: 'perhaps' }));
  });

  test('is 401 with a certificate that is revoked', async () => {
    const own = new X509Certificate(device.certificate).serialNumber;
    await director.control('DELETE', `/certificates/${own}`);
    assert.equal((await reenrol('device-1', device)).status, 401);
  });
});
