/** Options that stand for settings: which flag fills which key, so that config knows where a value came from. */
import { Option, type Command } from 'commander'
import type { FlagValues } from '../config/config.ts'

export interface SettingOption {
  flags: string
  key: string
  meaning: string
  /** Given several times, it makes a list. */
  repeat?: true
}

export function addSettingOptions(command: Command, options: readonly SettingOption[]): void {
  for (const { flags, meaning, repeat } of options) {
    const option = new Option(flags, meaning)
    if (repeat) option.argParser(append)
    command.addOption(option)
  }
}

function append(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value]
}

/** What was given, by setting. */
export function flagValuesOf(given: Record<string, unknown>, options: readonly SettingOption[]): FlagValues {
  const entries = options.flatMap(({ flags, key }) => {
    const option = new Option(flags)
    const value = given[option.attributeName()]
    return value === undefined ? [] : [[key, { flag: option.long ?? flags, value }] as const]
  })
  return Object.fromEntries(entries)
}

/** For commands that reach the chain. */
export const rpcOption: SettingOption = {
  flags: '--rpc-url <url>',
  key: 'rpc_urls',
  meaning: 'an RPC endpoint of the network (repeatable, tried in order)',
  repeat: true,
}

/** For who announces and who searches. */
export const registryOption: SettingOption = {
  flags: '--registry <url>',
  key: 'registries',
  meaning: 'a registry, by URL or by a domain whose DNS names some (repeatable)',
  repeat: true,
}

/** For every node that others meet. */
export const bootstrapOption: SettingOption = {
  flags: '--bootstrap <multiaddr>',
  key: 'p2p.bootstrap',
  meaning: 'a DHT server or relay to begin with, with its /p2p/ part (repeatable)',
  repeat: true,
}

export const logOption: SettingOption = {
  flags: '--log-level <level>',
  key: 'log_level',
  meaning: 'debug, info, warn, error or silent',
}
