// The certified oidc-provider from npm as tests run it: `node provider.mjs`, its settings as JSON on stdin; says READY when it listens.
// People sign in on its own development pages: any name, any password.
import { createServer } from "node:http";
import Provider from "oidc-provider";

let text = "";
for await (const piece of process.stdin) text += piece;
const settings = JSON.parse(text);

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  cookies: { keys: ["only for tests"] },
  conformIdTokenClaims: false,
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  features: { deviceFlow: { enabled: true } },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, DeviceCode: 300, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
  async findAccount(_, id) {
    const { verified = true, groups = [] } = settings.accounts[id] ?? {};
    return { accountId: id, claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: verified, groups }) };
  },
});
provider.on("server_error", (_, error) => console.error(error));
createServer(provider.callback()).listen(settings.port, "127.0.0.1", () => console.log("READY"));
