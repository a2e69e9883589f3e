// The certified oidc-provider from npm, for agents: `node agents.mjs`, its settings as JSON on stdin; says READY when it listens.
// A client gets access tokens that are JWTs (RFC 9068) for whatever audience it asks for (RFC 8707), by its secret alone.
import { createServer } from "node:http";
import Provider from "oidc-provider";

let text = "";
for await (const piece of process.stdin) text += piece;
const settings = JSON.parse(text);

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  cookies: { keys: ["only for tests"] },
  jwks: settings.jwks,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, audience) => ({
        scope: "read",
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: settings.seconds,
        jwt: { sign: { alg: settings.algorithm } },
      }),
    },
  },
  extraTokenClaims: () => ({ groups: settings.groups }),
});
provider.on("server_error", (_, error) => console.error(error));
createServer(provider.callback()).listen(settings.port, "127.0.0.1", () => console.log("READY"));
