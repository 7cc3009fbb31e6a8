import { buyerOperations } from './buyer-operations.ts'
import type { Db } from './open.ts'
import { sellerOperations } from './seller-operations.ts'
import { towerOperations } from './tower-operations.ts'

/** Everything that can be asked of a role's database, by name. */
export const operations = { buyer: buyerOperations, seller: sellerOperations, tower: towerOperations }

export type BuyerOperations = typeof buyerOperations
export type SellerOperations = typeof sellerOperations
export type TowerOperations = typeof towerOperations

export interface OperationsOf {
  buyer: BuyerOperations
  seller: SellerOperations
  tower: TowerOperations
}

// `never` accepts every parameter type: which one belongs to a name is checked where it is called.
export type Operation = (db: Db, params: never) => unknown
export interface Operations {
  writes: Record<string, Operation>
  reads: Record<string, Operation>
}

/** The arguments after the name: none for an operation that takes nothing but the database. */
export type ParamsOf<Op> = Op extends (db: Db) => unknown
  ? [params?: Record<string, never>]
  : Op extends (db: Db, params: infer Params) => unknown
    ? [params: Params]
    : never

export type ResultOf<Op> = Op extends (db: Db, params: never) => infer Result ? Result : never
