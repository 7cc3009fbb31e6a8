// The package's types cover its main entry only, which looks for the addon beside itself; a bundle cannot do that.
declare module 'secp256k1/lib/index.js' {
  function wrap(addon: unknown): typeof import('secp256k1')
  export = wrap
}
