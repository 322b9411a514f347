/** `GET /docs`: the OpenAPI document for people, from this server alone. */
import swaggerUi from '@fastify/swagger-ui';
import fastifyPlugin from 'fastify-plugin';
import { exampleServer } from './examples';

/** Serves the viewer. Needs `openApi` before it. */
export const openApiViewer = fastifyPlugin(async (app) => {
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: policy,
    transformSpecification: (document, { protocol, host }) =>
      onHost(document, `${protocol}://${host}`),
    theme: {
      title: 'Commerce API',
      css: [{ filename: 'theme.css', content: style }],
      js: [{ filename: 'theme.js', content: darkWhereAskedFor }],
    },
    uiConfig: {
      layout: 'BaseLayout',
      docExpansion: 'list',
      deepLinking: true,
      filter: true,
      tryItOutEnabled: true,
      persistAuthorization: false,
      displayRequestDuration: true,
      defaultModelsExpandDepth: -1,
      // Its badge is fetched from a server of others.
      validatorUrl: null,
    },
  });
});

/** Requests and examples go to the host under which the reader has reached this server. */
function onHost(document: Readonly<Record<string, unknown>>, origin: string): object {
  const here = { ...document, servers: [{ url: '/', description: 'this server' }] };
  // What else a client may have put there is no part of a command that somebody copies.
  if (!/^https?:\/\/[\w.:[\]-]+$/.test(origin)) return here;
  return JSON.parse(JSON.stringify(here).replaceAll(exampleServer, origin)) as object;
}

const policy = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  // The viewer's own icons are data in its style sheet.
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
};

const style = `
.swagger-ui .renderedMarkdown pre code {
  color: inherit;
  font-weight: 400;
  white-space: pre;
}
.swagger-ui .renderedMarkdown p code {
  padding: 1px 4px;
}
.swagger-ui .renderedMarkdown pre {
  overflow-x: auto;
  white-space: pre;
}
`;

// Its dark look goes by a class, not by what the browser asks for.
const darkWhereAskedFor = `
const asked = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', asked.matches);
asked.addEventListener('change', follow);
follow();
`;
