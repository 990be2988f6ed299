//! Requests: each fans out into queries, under one deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lifespan::scope::JoinFailure;
use lifespan::thread::CallError;
use lifespan::{Kind, Scope, Track};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::analytics::Sale;
use super::app::Shop;
use super::kinds;
use super::store::{Conflict, Order, SKUS};

/// How long a request may take.
const DEADLINE: Duration = Duration::from_millis(400);

/// Registers each request as a task: it ends with its answer, or is cancelled when its client hangs up.
pub(super) async fn track(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let response = next.run(request).tracked(&kinds::REQUEST).await;
    shop.counts.served.add_one();
    response
}

#[derive(Debug, Serialize)]
pub(super) struct OrderView {
    id: u64,
    customer: String,
    sku: u64,
    quantity: u64,
    total_cents: u64,
    in_stock: u64,
}

/// `GET /orders/{id}`: two queries and a look into the cache at once.
pub(super) async fn show(
    State(shop): State<Arc<Shop>>,
    Path(id): Path<u64>,
) -> Result<Json<OrderView>, Refusal> {
    in_time(&shop, gather(&shop, id)).await.map(Json)
}

/// Gives work on a request its time.
async fn in_time<T>(shop: &Shop, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let Ok(done) = timeout(DEADLINE, work).await else {
        shop.counts.late.add_one();
        return Err(Refusal::Late);
    };
    done
}

async fn gather(shop: &Arc<Shop>, id: u64) -> Result<OrderView, Refusal> {
    let request = shop.scope.child("request").timeout(DEADLINE);
    let (order, stock, customer) = (Arc::clone(shop), Arc::clone(shop), Arc::clone(shop));
    let order = async move { order.database.order(id).await };
    let stock = async move { stock.database.stock(id).await };
    let customer = async move { Ok(customer.cache.customer(id).await) };
    let (order, in_stock, customer) = tokio::try_join!(
        ask(&request, &kinds::DB_QUERY, order),
        ask(&request, &kinds::DB_QUERY, stock),
        ask(&request, &kinds::CACHE_READ, customer),
    )?;
    let Order { sku, quantity } = order.ok_or(Refusal::Unknown)?;
    Ok(OrderView {
        id,
        customer,
        sku,
        quantity,
        total_cents: quantity * shop.prices.of(sku).await?,
        in_stock,
    })
}

/// One query, as a task in the request's scope. Dropped, at the deadline or when the client hangs up, it aborts the task:
/// no query outlives its request.
async fn ask<T: Send + 'static>(
    request: &Scope,
    kind: &'static Kind,
    query: impl Future<Output = Result<T, Conflict>> + Send + 'static,
) -> Result<T, Refusal> {
    let mut answer = request.try_join(kind, [|_cx| query]).await?;
    answer.pop().ok_or(Refusal::Broken)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrder {
    sku: u64,
    quantity: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Created {
    id: u64,
}

/// `POST /orders`: writes it, and leaves the analytics and now and then a thumbnail for later.
pub(super) async fn create(
    State(shop): State<Arc<Shop>>,
    Json(new): Json<NewOrder>,
) -> Result<(StatusCode, Json<Created>), Refusal> {
    if new.sku >= SKUS || !(1..=1_000).contains(&new.quantity) {
        return Err(Refusal::Invalid);
    }
    let request = shop.scope.child("request").timeout(DEADLINE);
    let at = Arc::clone(&shop);
    let insert = async move { at.database.insert().await };
    let id = in_time(&shop, ask(&request, &kinds::DB_QUERY, insert)).await?;
    let cents = new.quantity * shop.prices.of(new.sku).await?;
    if !shop.analytics.submit(Sale { sku: new.sku, cents }) {
        shop.counts.rejected.add_one();
    }
    if id % 4 == 0 && !shop.thumbnails.make(id) {
        shop.counts.rejected.add_one();
    }
    Ok((StatusCode::CREATED, Json(Created { id })))
}

/// Why a request brings no order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// A query panicked or was aborted, or there are no prices.
    Broken,
    Conflict,
    Invalid,
    Late,
    Unknown,
}

impl From<JoinFailure<Conflict>> for Refusal {
    fn from(failure: JoinFailure<Conflict>) -> Self {
        match failure {
            JoinFailure::Failed(Conflict) => Self::Conflict,
            _ => Self::Broken,
        }
    }
}

impl From<CallError> for Refusal {
    fn from(_: CallError) -> Self {
        Self::Broken
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "a query failed".to_owned()),
            Self::Conflict => (StatusCode::CONFLICT, Conflict.to_string()),
            Self::Invalid => (
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("sku is below {SKUS}, quantity from 1 to 1000"),
            ),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "not ready within 400 ms".to_owned()),
            Self::Unknown => (StatusCode::NOT_FOUND, "no such order".to_owned()),
        };
        (status, format!("{text}\n")).into_response()
    }
}
