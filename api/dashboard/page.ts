/** The dashboard's page: a frame that its script fills. */

/** Where the page's files are. */
export interface PageFiles {
  readonly script: string;
  readonly style: string;
  readonly font: string;
  readonly icon: string;
  /** The runbook, as Markdown: what a problem means, and what to do. */
  readonly runbook: string;
}

/** The page as HTML. Nothing in it is inline, so that its Content-Security-Policy can forbid that. */
export function pageHtml({ script, style, font, icon, runbook }: PageFiles): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Event pipeline</title>
<link rel="icon" href="${icon}" type="image/svg+xml">
<link rel="preload" href="${font}" as="font" type="font/woff2" crossorigin>
<link rel="stylesheet" href="${style}">
<script src="${script}" type="module"></script>
</head>
<body>
<div id="app" data-runbook="${runbook}"></div>
<noscript>The dashboard needs JavaScript. The API has the same data: see /docs.</noscript>
</body>
</html>
`;
}
