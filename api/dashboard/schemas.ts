/** Settings of the dashboard in answers. */
import { z } from 'zod';

/** The settings of this installation. */
export const settingsSchema = z.object({
  operator: z.string().describe('name of the API key'),
  temporalUiUrl: z.string(),
  temporalNamespace: z.string(),
  eventTypes: z.array(z.string()).describe('every type of event, by name'),
  demonstration: z.boolean().describe('whether /v1/demonstration is enabled'),
});
