/** All environment variables OpenSeed looks at, read once. `base/crash.ts` and `base/assets.ts` have one each of their own. */

export interface Env {
  /** OPENSEED_HOME: one folder for everything. */
  home: string | undefined
  /** OPENSEED_PASSWORD_FILE: a file whose first line opens the wallet. */
  passwordFile: string | undefined
  /** OPENSEED_PASSWORD: the password itself. */
  password: string | undefined
  /** OPENSEED_* variables that stand for settings, e.g. OPENSEED_BUY_PORT; still unchecked. */
  settings: ReadonlyMap<string, string>
  folders: {
    userHome: string | undefined
    config: string | undefined
    data: string | undefined
    state: string | undefined
    appData: string | undefined
  }
  terminal: { noColor: boolean; forceColor: boolean; dumb: boolean; ci: boolean }
}

const prefix = 'OPENSEED_'
const notSettings = /^OPENSEED_(HOME|PASSWORD|PASSWORD_FILE|CRASH_.*)$/

/** Empty variables count as unset, as shells write them so. */
export function readEnv(variables: NodeJS.ProcessEnv = process.env): Env {
  const read = (name: string) => variables[name] || undefined
  const settings = Object.entries(variables).filter(
    (entry): entry is [string, string] =>
      entry[0].startsWith(prefix) && !notSettings.test(entry[0]) && Boolean(entry[1]),
  )
  return {
    home: read('OPENSEED_HOME'),
    passwordFile: read('OPENSEED_PASSWORD_FILE'),
    password: read('OPENSEED_PASSWORD'),
    settings: new Map(settings),
    folders: {
      userHome: read('HOME') ?? read('USERPROFILE'),
      config: read('XDG_CONFIG_HOME'),
      data: read('XDG_DATA_HOME'),
      state: read('XDG_STATE_HOME'),
      appData: read('LOCALAPPDATA'),
    },
    terminal: {
      noColor: read('NO_COLOR') !== undefined,
      forceColor: read('FORCE_COLOR') !== undefined && read('FORCE_COLOR') !== '0',
      dumb: read('TERM') === 'dumb',
      ci: read('CI') !== undefined && read('CI') !== 'false',
    },
  }
}

/** The variable that stands for a setting: `buy.max_per_day` is OPENSEED_BUY_MAX_PER_DAY. */
export function envName(key: string): string {
  return prefix + key.replaceAll('.', '_').toUpperCase()
}
