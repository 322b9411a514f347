/** The alerts as the Prometheus Operator takes them, from the file that Prometheus itself reads. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { PlannedFile } from './files';

const alertsFile = 'observability/prometheus/alerts.yml';

/** The manifest, from the alerts below the root, with their comments. */
export function plannedAlertManifest(root: string): PlannedFile {
  const rules = readFileSync(path.join(root, alertsFile), 'utf8').replaceAll(/^(?=.)/gm, '  ');
  return { file: 'deploy/kubernetes/monitoring/alerts.yaml', text: `${heading}${rules}` };
}

const heading = `# Written by npm run generate from ${alertsFile}.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: commerce
  labels:
    rollout-step: ground
spec:
`;
