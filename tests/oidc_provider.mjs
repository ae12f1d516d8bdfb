// An oidc-provider for tests/test_real_oidc_provider.py: one client, tokens of five seconds for its userinfo endpoint.
// Environment: OIDC_PROVIDER (the package's lib/index.js), OIDC_SECRET, OIDC_TOLERANCE (seconds; its default without).
// It says its port on a line, and ends with its stdin.
const { default: Provider } = await import(process.env.OIDC_PROVIDER)
const GRANT = 'urn:openbell:desk'
const provider = new Provider('http://127.0.0.1', {
  clients: [{
    client_id: 'desk', client_secret: process.env.OIDC_SECRET,
    grant_types: [GRANT], redirect_uris: [], response_types: [],
  }],
  features: { devInteractions: { enabled: false } },
  ttl: { AccessToken: 5, Grant: 600 },
  ...(process.env.OIDC_TOLERANCE ? { clockTolerance: Number(process.env.OIDC_TOLERANCE) } : {}),
})
// Its own grants need a person at a browser before a token is good for userinfo; the tokens and their end are its own.
provider.registerGrantType(GRANT, async (ctx) => {
  const { client } = ctx.oidc
  const grant = new provider.Grant({ clientId: client.clientId, accountId: 'desk' })
  grant.addOIDCScope('openid')
  const grantId = await grant.save()
  const token = new provider.AccessToken({ client, accountId: 'desk', grantId, scope: 'openid', gty: 'desk' })
  ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer' }
})
const server = provider.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume().on('end', () => process.exit())
