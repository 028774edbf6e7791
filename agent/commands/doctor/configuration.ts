import { loadSettings } from '../../config.ts';
import { ok, type Check } from './check.ts';

export const CONFIGURATION: Check = {
  name: 'configuration',
  needs: [],
  code: 'CONFIG_INVALID',
  examine: async (examination) => {
    const loaded = await loadSettings({ config: examination.config });
    examination.note('loaded', loaded);
    const { files, origins } = loaded;
    return ok(`${String(origins.size)} settings in ${files.join(', ') || 'no file'}`);
  },
};
