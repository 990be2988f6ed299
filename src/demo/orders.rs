//! Requests: each fans out into queries, under one deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lifespan::Track;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
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
    let Ok(gathered) = timeout(DEADLINE, gather(&shop, id)).await else {
        shop.counts.late.add_one();
        return Err(Refusal::Late);
    };
    gathered.map(Json)
}

/// What one part of the fan-out brings.
enum Part {
    Customer(String),
    Order(Option<Order>),
    Stock(u64),
}

async fn gather(shop: &Arc<Shop>, id: u64) -> Result<OrderView, Refusal> {
    // tokio's own set, since a query that fails is told apart here. Dropping it, at the deadline or when the client
    // hangs up, aborts what still runs: no query outlives its request.
    let mut parts = JoinSet::new();
    let at = Arc::clone(shop);
    let order = async move { at.database.order(id).await.map(Part::Order) };
    parts.spawn(order.tracked(&kinds::DB_QUERY).fallible().root());
    let at = Arc::clone(shop);
    let stock = async move { at.database.stock(id).await.map(Part::Stock) };
    parts.spawn(stock.tracked(&kinds::DB_QUERY).fallible().root());
    let at = Arc::clone(shop);
    let customer = async move { Ok(Part::Customer(at.cache.customer(id).await)) };
    parts.spawn(customer.tracked(&kinds::CACHE_READ).fallible().root());

    let (mut order, mut in_stock, mut customer) = (None, 0, String::new());
    while let Some(part) = parts.join_next().await {
        match part.map_err(|_| Refusal::Broken)?? {
            Part::Customer(name) => customer = name,
            Part::Order(found) => order = found,
            Part::Stock(left) => in_stock = left,
        }
    }
    let Order { sku, quantity } = order.ok_or(Refusal::Unknown)?;
    Ok(OrderView {
        id,
        customer,
        sku,
        quantity,
        total_cents: quantity * shop.prices.of(sku),
        in_stock,
    })
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
    let mut write = JoinSet::new();
    let at = Arc::clone(&shop);
    let insert = async move { at.database.insert().await };
    write.spawn(insert.tracked(&kinds::DB_QUERY).fallible().root());
    let id = match timeout(DEADLINE, write.join_next()).await {
        Ok(Some(Ok(id))) => id?,
        Ok(_) => return Err(Refusal::Broken),
        Err(_) => {
            shop.counts.late.add_one();
            return Err(Refusal::Late);
        }
    };
    let cents = new.quantity * shop.prices.of(new.sku);
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
    /// A query panicked.
    Broken,
    Conflict,
    Invalid,
    Late,
    Unknown,
}

impl From<Conflict> for Refusal {
    fn from(_: Conflict) -> Self {
        Self::Conflict
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
