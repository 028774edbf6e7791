/** Who may import whom. The picture is in agent/ARCHITECTURE.md; this file is what enforces it. */
const only = (name, from, to) => ({
  name,
  severity: 'error',
  from: { path: from },
  to: { path: '^(agent|provisioning|test)/', pathNot: to },
});
const npm = (pkg, owner, everywhere = '^(agent|provisioning)/') => ({
  name: `${pkg}-only-in-${owner}`,
  severity: 'error',
  from: { path: everywhere, pathNot: owner },
  to: { path: `node_modules/${pkg}/` },
});

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    only('uptane-is-pure', '^agent/uptane/', '^agent/(uptane/|errors|decode|json-)'),
    only('machine-is-pure', '^agent/cycle/machine', '^agent/(uptane/|errors)'),
    only(
      'cycle-knows-ports-not-adapters',
      '^agent/cycle/',
      '^agent/(cycle/|uptane/|ports|errors|decode)',
    ),
    only('ports-are-types', '^agent/ports', '^agent/(uptane/|cycle/(machine|gate)|errors)'),
    only(
      'adapters-stand-alone',
      '^agent/io/',
      '^agent/(io/|uptane/|ports|errors|decode|settings|config)',
    ),
    only('settings-stand-alone', '^agent/(settings|config)', '^agent/(settings|config|errors)'),
    only(
      'provisioning-borrows-adapters',
      '^provisioning/',
      '^(provisioning/|agent/(io/|uptane/|ports|errors|decode|settings|config))',
    ),
    only('emulator-shares-nothing', '^test/tee/', '^test/tee/'),
    only('director-shares-nothing', '^test/director/', '^test/director/'),
    {
      name: 'product-does-not-know-its-tests',
      severity: 'error',
      from: { path: '^(agent|provisioning)/' },
      to: { path: '^test/' },
    },
    {
      name: 'pure-code-does-no-io',
      severity: 'error',
      from: { path: '^agent/(uptane/|cycle/|ports|errors|decode|json-)' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|buffer)$' },
    },
    { name: 'nothing-imports-main', severity: 'error', from: {}, to: { path: '^agent/main' } },
    npm('graphene-pk11', '^agent/io/token/'),
    npm('pkcs11js', '^agent/io/token/probe-module-main'),
    npm('undici', '^agent/io/(http|tls-connector)'),
    npm('sqlite3', '^agent/io/store/database'),
    npm('fastify', '^test/'),
    npm('pino', '^agent/io/log'),
    npm('cli-progress', '^agent/io/progress-bar'),
    npm('smol-toml', '^agent/(config|commands/config)'),
    npm('zod', '^agent/(settings|config|io/api/)'),
    npm('fastest-levenshtein', '^agent/config'),
    npm('tuf-js', '^agent/uptane/tuf-judge'),
    npm('node-forge', '^provisioning/pkcs12-worker'),
    npm('yauzl', '^provisioning/credentials-zip'),
    npm('csv-parse', '^provisioning/factory/device-list'),
    npm('asn1js', '^provisioning/csr-attributes'),
    npm('@peculiar/x509', '^(provisioning/|agent/io/(tls|token/))'),
    npm('@peculiar/asn1-(ocsp|schema|x509)', '^agent/io/ocsp'),
    // The store of images, and what makes its first bucket.
    npm('aws4fetch', '^test/(director/state/object-store|support/swift)\\.', '^'),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
  },
};
